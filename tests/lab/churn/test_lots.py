from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.facts import GroupAgreed, GroupFinished, IterationStarted, LocalUpdateFinished
from marfl_peer.lab.churn.lots import Instant, choose, draw_instant, lot
from marfl_peer.lab.churn.plan import Chance, Count, Listed, Share

PRESENT = list(range(20))


@given(st.lists(st.one_of(st.integers(), st.text()), min_size=1))
def test_lot_is_a_number_below_one_that_its_parts_decide(parts: list[object]) -> None:
    assert 0 <= lot(*parts) < 1
    assert lot(*parts) == lot(*parts)


@pytest.mark.parametrize(
    ("choice", "count"), [(Share(0.2), 4), (Share(0.01), 1), (Share(1.0), 20), (Count(3), 3), (Count(20), 19)]
)
def test_so_many_are_chosen_and_one_is_spared_unless_all_are_meant(choice: Share | Count, count: int) -> None:
    chosen = choose(choice, PRESENT, seed="s")
    assert len(chosen) == count
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(PRESENT)
    assert chosen == choose(choice, PRESENT, seed="s")


def test_another_seed_chooses_others() -> None:
    assert len({tuple(choose(Count(5), PRESENT, seed=seed)) for seed in range(20)}) > 15


def test_listed_peers_are_chosen_as_far_as_they_are_there() -> None:
    assert choose(Listed((1, 4, 30)), PRESENT, seed="s") == [1, 4]
    assert choose(Listed((0, 1)), [0, 1], seed="s") == [0, 1], "the plan names everybody who is there"


def test_chance_takes_each_on_its_own() -> None:
    counts = [len(choose(Chance(0.2), PRESENT, seed=seed)) for seed in range(400)]
    assert len(set(counts)) > 5
    assert sum(counts) / 400 == pytest.approx(4.0, abs=0.4)
    assert choose(Chance(1.0), PRESENT, seed="s") == PRESENT
    assert all(len(choose(Chance(0.95), [1, 2], seed=seed)) <= 1 for seed in range(20))


@pytest.mark.parametrize("choice", [Share(0.5), Count(1), Chance(0.5), Listed((1,))])
def test_of_nobody_nobody_is_chosen(choice: Share | Count | Chance | Listed) -> None:
    assert choose(choice, [], seed="s") == []
    assert choose(choice, [7], seed="s") == []


def test_where_nobody_is_to_be_spared_the_last_is_chosen_too() -> None:
    assert choose(Count(2), [3, 5], seed="s", spare=False) == [3, 5]


def test_instants_cover_all_phases_of_all_rounds() -> None:
    drawn = [draw_instant(3, seed=seed) for seed in range(300)]
    assert {(instant.round, instant.exchanging) for instant in drawn} == {
        (round, exchanging) for round in (1, 2, 3) for exchanging in (False, True)
    }
    assert all(0 <= instant.delay < 1 for instant in drawn)
    assert draw_instant(3, seed=1) == draw_instant(3, seed=1)


def test_instant_begins_with_the_fact_that_opens_its_phase() -> None:
    updated = LocalUpdateFinished(iteration=1, samples=1, batches=1, loss=0.1, seconds=0.1)
    agreed = GroupAgreed(iteration=1, round=2, line=0, attempt=1, leader="a", members=())
    finished = GroupFinished(
        iteration=1, round=1, line=0, outcome="complete", attempts=1, members=(), absent=0, seconds=0.1
    )
    facts = (IterationStarted(iteration=1), updated, finished, agreed)

    def opened_by(round: int, exchanging: bool) -> list[object]:
        instant = Instant(round=round, exchanging=exchanging, delay=0.0)
        return [fact for fact in facts if instant.begins_with(fact)]

    assert opened_by(1, False) == [updated]
    assert opened_by(2, False) == [finished]
    assert opened_by(2, True) == [agreed]
    assert opened_by(1, True) == []
