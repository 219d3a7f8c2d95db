import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import MarflError
from marfl_peer.lab.bench import figures
from marfl_peer.lab.bench.words import Done


def test_time_is_from_the_first_that_began_to_the_last_that_ended() -> None:
    done = [Done(began=2.0, ended=3.0, call_s=1.5, cpu_s=0.5), Done(began=1.5, ended=2.5, call_s=4.0)]
    assert figures.seconds_of(done) == 1.5
    assert figures.call_seconds([done]) == [4.0]
    assert figures.cpu_seconds([done, done[1:]]) == [0.5, 0.0]


def test_repeat_that_came_to_nothing_has_no_time() -> None:
    failed = [Done(began=1.0, ended=2.0), Done(began=1.0, ended=2.0, failure="no group was found")]
    assert figures.all_seconds([failed, [Done(began=1.0, ended=4.0)]]) == [3.0]


def test_medians_and_quartiles() -> None:
    assert figures.median([4.0, 1.0, 2.0]) == 2.0
    assert figures.quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 4.0)
    assert figures.quartiles([7.0]) == (7.0, 7.0)


def test_error_is_the_largest_and_none_where_nobody_knows() -> None:
    done = [Done(began=0, ended=1, error=1e-8, digest="a"), Done(began=0, ended=1, error=3e-8, digest="a")]
    assert figures.checked(done, "peers") == 3e-8
    assert figures.checked([Done(began=0, ended=1)], "gloo") is None


def test_wrong_mean_is_an_error() -> None:
    with pytest.raises(MarflError, match="gloo came to a wrong mean: off by a mile"):
        figures.checked([Done(began=0, ended=1, error=0.2, wrong="off by a mile")], "gloo")


def test_wrong_mean_of_groups_that_were_not_complete_says_so() -> None:
    done = [Done(began=0, ended=1, wrong="off", groups_partial=1), Done(began=0, ended=1, groups_partial=1)]
    with pytest.raises(MarflError, match="wrong mean: off; 2 times a group was not complete: is the machine"):
        figures.checked(done, "peers")


def test_results_that_differ_in_a_bit_are_an_error() -> None:
    done = [Done(began=0, ended=1, error=0.0, digest=digest) for digest in "aba"]
    with pytest.raises(MarflError, match="2 different results"):
        figures.checked(done, "peers")


def test_bytes_are_means_over_peers_and_repeats() -> None:
    repeats = [
        [
            Done(began=0, ended=1, bytes_sent={"tensor": 10, "dht": 8}),
            Done(began=0, ended=1, bytes_sent={"tensor": 20}),
        ],
        [Done(began=0, ended=1, bytes_sent={"tensor": 30}), Done(began=0, ended=1, groups_partial=2)],
    ]
    assert figures.bytes_by_kind(repeats) == {"tensor": 15.0, "control": 0.0, "dht": 2.0, "state": 0.0}
    assert figures.groups_partial(repeats) == 2
    assert figures.tensor_bytes(repeats) == [20.0, 10.0]


def test_counts_of_a_run_are_of_all_its_iterations_the_first_and_the_last_apart() -> None:
    iterations = [
        [Done(began=0, ended=1, bytes_sent={"tensor": sent, "dht": 1}, dht_lookups=look_ups) for sent in (10, 30)]
        for look_ups in (6, 0, 0)
    ]
    iterations[-1][0] = Done(began=0, ended=1, bytes_sent={"tensor": 70}, groups_partial=1)
    run = figures.counted(iterations, settings=Settings(group_size=2), vector_bytes=80)
    assert (run.peers, run.grid, run.iterations, run.is_simulated) == (2, (2,), 3, False)
    assert (run.bytes_sent_first_iteration["tensor"], run.bytes_sent_last_iteration["tensor"]) == (20.0, 50.0)
    assert run.bytes_sent["tensor"] == 30.0
    assert run.bytes_sent_per_peer_per_iteration == pytest.approx(30 + 5 / 6)
    assert (run.dht_lookups_per_peer_per_iteration, run.groups_partial) == (2.0, 1)
    assert (run.formulas.butterfly, run.seconds_per_iteration, run.error) == (80.0, None, None)


@pytest.mark.parametrize(
    ("aggregation", "grid", "sent"),
    [("mar", (2, 2), 2.0), ("ring", (4,), 1.5), ("rdfl", (4,), 3.0), ("gossip", (), 1.0), ("random", (), 2.0)],
)
def test_run_of_a_scheme_stands_beside_its_formula(aggregation: str, grid: tuple[int, ...], sent: float) -> None:
    settings = Settings(group_size=2, aggregation=aggregation)
    run = figures.counted([[Done(began=0, ended=1)] * 4], settings=settings, vector_bytes=80)
    assert (run.aggregation, run.grid, run.scheme_bytes_per_peer_per_iteration) == (aggregation, grid, 80 * sent)


def test_uplinks_are_those_of_the_last_repeat() -> None:
    repeats = [[Done(began=0, ended=1, uplink_bytes_per_s=speed), Done(began=0, ended=1)] for speed in (9.0, 2.0)]
    assert figures.uplinks(repeats) == [16.0, 0.0]
