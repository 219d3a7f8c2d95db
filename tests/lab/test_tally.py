import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.facts import IterationSkipped, LoopLagged, PrivacySpent
from marfl_peer.lab.tally import Tally


def tally_of(*facts) -> Tally:
    tally = Tally()
    for index, fact in facts:
        tally.add(index, fact)
    return tally


def test_row_of_an_unheard_iteration_knows_nothing() -> None:
    row = Tally().row(3)
    assert (row.iteration, row.test_accuracy_mean, row.train_loss_mean, row.disagreement) == (3, None, None, None)
    assert row.seconds is None and row.peers_alive == 0
    assert row.bytes_sent == {"tensor": 0, "control": 0, "dht": 0, "state": 0}


def test_row_adds_bytes_and_takes_the_median_of_seconds(told) -> None:
    tally = tally_of(
        (0, told.finished(1, seconds=1.0, tensor=100, control=5)),
        (1, told.finished(1, seconds=9.0, tensor=50, dht=7)),
        (2, told.finished(1, seconds=2.0)),
        (2, told.finished(2, tensor=1)),
    )
    row = tally.row(1)
    assert row.bytes_sent == {"tensor": 150, "control": 5, "dht": 7, "state": 0}
    assert row.seconds == 2.0
    assert row.peers_alive == 3


def test_accuracy_is_over_all_shares_of_the_iteration(told) -> None:
    tally = tally_of((0, told.evaluated(1, 9, 10)), (1, told.evaluated(1, 10, 90)), (0, told.evaluated(2, 10, 10)))
    assert tally.row(1).test_accuracy_mean == pytest.approx(19 / 100)
    assert tally.row(2).test_accuracy_mean == 1.0


def test_accuracy_of_whole_tests_is_their_mean(told) -> None:
    tally = tally_of((0, told.evaluated(1, 50, 100, full=True)), (1, told.evaluated(1, 100, 100, full=True)))
    assert tally.row(1).test_accuracy_mean == pytest.approx(0.75)


def test_accuracy_that_only_rode_along_belongs_to_the_iteration_before(told) -> None:
    tally = tally_of((0, told.finished(1)), (0, told.finished(2, told=(1, 0.5))))
    assert tally.row(1).test_accuracy_mean == 0.5
    assert tally.row(2).test_accuracy_mean is None


def test_empty_share_does_not_divide_by_zero(told) -> None:
    assert tally_of((0, told.evaluated(1, 0, 0))).row(1).test_accuracy_mean is None


def test_train_loss_is_weighted_by_samples(told) -> None:
    tally = tally_of((0, told.updated(1, 1.0, 30)), (1, told.updated(1, 4.0, 10)), (2, told.updated(1, None, 500)))
    assert tally.row(1).train_loss_mean == pytest.approx(1.75)


def test_train_loss_falls_back_on_what_peers_told(told) -> None:
    tally = tally_of((0, told.finished(1, train_loss=2.0)), (1, told.finished(1)))
    assert tally.row(1).train_loss_mean == 2.0


def test_disagreement_is_of_all_projections(told) -> None:
    tally = tally_of((0, told.finished(1, projection=(3.0, 0.0))), (1, told.finished(1, projection=(5.0, 0.0))))
    assert tally.row(1).disagreement == pytest.approx(0.25)
    tally.add(0, told.finished(2, projection=(3.0, 4.0)))
    assert tally.row(2).disagreement == 0.0


@pytest.mark.parametrize(
    ("outcomes", "complete"),
    [
        ([("complete", 0)], True),
        ([("complete", 0), ("taken", 0)], True),
        ([("alone", 0)], True),
        ([("alone", 3)], False),
        ([("complete", 0), ("partial", 1)], False),
        ([("partial", 1), ("complete", 0)], False),
        ([("taken", 1)], False),
        ([("skipped", 3)], False),
    ],
)
def test_line_is_complete_when_every_report_of_it_is(told, outcomes, complete: bool) -> None:
    tally = tally_of(*((i, told.group(1, 1, 0, what, absent=n)) for i, (what, n) in enumerate(outcomes)))
    assert (tally.row(1).groups_complete, tally.row(1).groups_partial) == (int(complete), int(not complete))


def test_lines_of_different_rounds_are_different_groups(told) -> None:
    tally = tally_of(*((i, told.group(1, g, line, "complete")) for i in range(2) for g in (1, 2) for line in (0, 4)))
    assert tally.row(1).groups_complete == 4


def test_row_tells_the_residual_of_a_run_that_is_traced(told) -> None:
    tally = tally_of((0, told.sketched(1, 0, 0.0)), (1, told.sketched(1, 0, 4.0)), (0, told.finished(1)))
    assert tally.row(1).mixing_residual is None
    tally.add(0, told.sketched(1, 1, 1.0))
    tally.add(1, told.sketched(1, 1, 3.0))
    assert tally.row(1).mixing_residual == (0.25,)
    assert tally.row(2).mixing_residual is None


def test_size_of_the_vector_is_what_a_peer_told(told) -> None:
    assert Tally().vector_bytes is None
    assert tally_of((0, told.started())).vector_bytes == 96


def test_epsilons_are_the_largest_that_any_peer_told() -> None:
    def spent(mate: float, outsider: float) -> PrivacySpent:
        return PrivacySpent(
            iteration=1, epsilon_mate=mate, epsilon_outsider=outsider, delta=1e-5, clip=1.0, noise_std=1.0, releases=1
        )

    row = tally_of((0, spent(4.7, 2.0)), (1, spent(9.1, 1.0)), (2, spent(4.7, 3.0))).row(1)
    assert (row.epsilon_mate, row.epsilon_outsider) == (9.1, 3.0)
    assert tally_of().row(1).epsilon_mate is None


def test_skipped_peer_is_alive_and_counted_once(told) -> None:
    tally = tally_of(
        (0, told.finished(1)),
        (1, IterationSkipped(iteration=1, reason="behind")),
        (1, IterationSkipped(iteration=1, reason="behind")),
    )
    assert (tally.row(1).peers_alive, tally.row(1).peers_skipped) == (2, 1)
    assert tally.last_iteration(1) == 1


def test_grid_is_that_of_the_largest_view(told) -> None:
    assert Tally().grid is None
    tally = tally_of((0, told.view(1, 1, ())), (0, told.view(1, 16, (4, 4))), (1, told.view(9, 13, (4, 4, 1))))
    assert tally.grid == (4, 4)


def test_totals_are_means_over_finished_iterations(told) -> None:
    tally = tally_of(
        (0, told.finished(1, tensor=10, lookups=4)),
        (1, told.finished(1, tensor=20)),
        (0, told.finished(2, tensor=30, dht=4)),
        (1, IterationSkipped(iteration=2, reason="behind")),
    )
    assert tally.bytes_sent_per_peer_per_iteration() == pytest.approx(
        {"tensor": 20, "control": 0, "dht": 4 / 3, "state": 0}
    )
    assert tally.dht_lookups_per_peer_per_iteration() == pytest.approx(4 / 3)


def test_totals_of_nothing_are_zero() -> None:
    assert set(Tally().bytes_sent_per_peer_per_iteration().values()) == {0}
    assert Tally().dht_lookups_per_peer_per_iteration() == 0.0


def test_iteration_settles_when_all_alive_have_reported_and_evaluated(told) -> None:
    tally = tally_of((0, told.finished(1)), (1, told.finished(1)), (0, told.evaluated(1, 1, 1)))
    assert not tally.is_settled(1, [0, 1])
    assert tally.is_settled(1, [0])
    tally.add(1, told.evaluated(1, 1, 1))
    assert tally.is_settled(1, [0, 1])
    assert not tally.is_settled(1, [0, 1, 2])


def test_iteration_without_evaluation_settles_with_the_next(told) -> None:
    tally = tally_of((0, told.finished(1)), (1, told.finished(1)))
    assert not tally.is_settled(1, [0, 1])
    tally.add(0, told.finished(2))
    assert tally.is_settled(1, [0, 1])


def test_iteration_settles_without_the_late_and_the_dead(told) -> None:
    tally = tally_of((0, told.finished(1)))
    assert tally.is_settled(1, [])
    tally.add(0, told.finished(2))
    assert not tally.is_settled(1, [0, 9])
    tally.add(0, told.finished(3))
    assert tally.is_settled(1, [0, 9])


@given(st.randoms(use_true_random=False))
def test_rows_do_not_depend_on_the_order_between_peers(rng: random.Random) -> None:
    from_each = {
        index: [LoopLagged(seconds=1.0), IterationSkipped(iteration=1, reason="r")]
        + [IterationSkipped(iteration=t, reason="r") for t in range(2, 2 + index)]
        for index in range(4)
    }
    order = [index for index, facts in from_each.items() for _ in facts]
    rng.shuffle(order)
    queues = {index: iter(facts) for index, facts in from_each.items()}
    shuffled = tally_of(*((index, next(queues[index])) for index in order))
    straight = tally_of(*((index, fact) for index, facts in from_each.items() for fact in facts))
    assert shuffled.iterations == straight.iterations == [1, 2, 3, 4]
    assert [shuffled.row(t) for t in shuffled.iterations] == [straight.row(t) for t in straight.iterations]
