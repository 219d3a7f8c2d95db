"""Figures from facts that are written here, and their differences."""

from __future__ import annotations

import pytest

from marfl_peer.facts import Evaluated, IterationFinished, StateFetched, WaitEnded
from marfl_peer.lab.simulator.costs import Meter, Wait, cost


def finished(iteration: int, *, weight: int = 8, sent: int = 100, theta: float = 1.0) -> IterationFinished:
    return IterationFinished(
        iteration=iteration,
        seconds=1.0,
        weight=weight,
        projection=(theta, 0.0),
        train_loss=None,
        evaluated_iteration=None,
        test_accuracy=None,
        test_loss=None,
        groups_complete=1,
        groups_partial=0,
        peers=2,
        bytes_sent={"tensor": sent, "control": 1, "dht": 2, "state": 0},
        dht_lookups=0,
    )


def evaluated(iteration: int, *, correct: float, loss: float, seen: int = 10) -> Evaluated:
    return Evaluated(iteration=iteration, correct=correct, seen=seen, loss=loss, scope="full")


def waited(seconds: float, *, allowed_s: float = 10.0, what: str = "result") -> WaitEnded:
    return WaitEnded(
        iteration=1,
        round=1,
        waited_for=what,  # type: ignore[arg-type]
        seconds=seconds,
        allowed_s=allowed_s,
        outcome="arrived",
    )


def in_peace() -> Meter:
    """Three peers, two iterations, one a second."""
    meter = Meter(founders=3, iterations=2)
    for index in range(3):
        for iteration in (1, 2):
            meter.add(index, finished(iteration), time=float(iteration))
    meter.add(0, evaluated(2, correct=9, loss=0.5), time=2.0)
    return meter


def test_cost_of_nothing_is_nothing() -> None:
    peace = in_peace().figures([])
    nothing = cost(peace, peace)
    assert (nothing.missed_by_victims, nothing.missed_by_others, nothing.downloads) == (0, 0, 0)
    assert (nothing.accuracy, nothing.loss_ratio, nothing.seconds) == (0.0, 1.0, 0.0)
    assert (nothing.weight_lost, nothing.disagreement) == (0.0, 0.0)
    assert set(nothing.bytes_sent.values()) == {0.0}


def test_cost_of_a_peer_that_is_gone_in_the_second_iteration() -> None:
    meter = Meter(founders=3, iterations=2)
    for index in range(3):
        meter.add(index, finished(1), time=1.0)
    for index in (0, 1):
        meter.add(index, finished(2, weight=6, sent=130, theta=1.0 + index), time=4.0 + index)
        meter.add(index, waited(3.0 + index), time=4.0)
    meter.add(0, evaluated(2, correct=8, loss=0.6), time=4.0)
    loss = cost(meter.figures([2]), in_peace().figures([2]))
    assert (loss.missed_by_victims, loss.missed_by_others) == (1, 0)
    assert loss.accuracy == pytest.approx(-0.1)
    assert loss.loss_ratio == pytest.approx(1.2)
    assert loss.seconds == pytest.approx(3.0)
    assert loss.longest_wait == Wait(seconds=4.0, allowed_s=10.0)
    assert loss.longest_wait.share == pytest.approx(0.4)
    assert loss.bytes_sent == {"tensor": 30.0, "control": 0.0, "dht": 0.0, "state": 0.0}
    assert loss.weight_lost == pytest.approx(0.25)
    assert loss.disagreement == pytest.approx(1 / 3)


def test_figures_are_of_those_whom_nothing_befell() -> None:
    meter = in_peace()
    meter.add(1, waited(9.0), time=2.0)
    meter.add(1, finished(2, sent=10_000), time=50.0)
    figures = meter.figures([1])
    assert figures.longest_wait == Wait()
    assert figures.longest_wait.share == 0.0
    assert (figures.seconds, figures.bytes_sent["tensor"]) == (2.0, 200.0)


def test_figures_do_not_count_waits_for_anything_but_results_nor_tests_of_a_share() -> None:
    meter = Meter(founders=1, iterations=1)
    meter.add(0, waited(9.0, what="view"), time=0.0)
    meter.add(0, Evaluated(iteration=1, correct=1, seen=2, loss=0.1, scope="share"), time=1.0)
    figures = meter.figures([])
    assert figures.longest_wait == Wait()
    assert (figures.accuracy, figures.loss, figures.seconds) == (None, None, None)
    assert figures.weights == (0.0,), "an iteration that is not finished brings nothing"
    assert (figures.missed_by_others, figures.disagreement) == (1, 0.0)


def test_cost_is_unknown_where_nobody_evaluated() -> None:
    meter = Meter(founders=3, iterations=2)
    unknown = cost(meter.figures([]), in_peace().figures([]))
    assert (unknown.accuracy, unknown.loss_ratio, unknown.seconds) == (None, None, None)
    assert unknown.weight_lost == pytest.approx(2.0)
    assert unknown.missed_by_others == 6


def test_figures_of_newcomers_count_from_their_first_iteration_on() -> None:
    meter = Meter(founders=1, iterations=4)
    for iteration in range(1, 5):
        meter.add(0, finished(iteration), time=1.0)
    fetched = StateFetched(iteration=2, source="a", sources=1, bytes_received=10, seconds=0.1)
    meter.add(1, fetched, time=0.5)
    meter.add(1, finished(3, sent=7), time=1.0)
    meter.add(2, fetched, time=0.5)
    figures = meter.figures([])
    assert figures.missed_by_others == 1 + 4, "one misses its second, one never gets to its first"
    assert figures.downloads == 2
    assert figures.bytes_sent["tensor"] == 400.0, "newcomers are no witnesses"


def test_figures_of_an_iteration_that_a_peer_did_twice_are_its_last() -> None:
    meter = in_peace()
    meter.add(2, finished(2, weight=4), time=3.0)
    figures = meter.figures([])
    assert figures.missed_by_others == 0
    assert figures.weights == pytest.approx((8.0, 20 / 3))
    assert figures.bytes_sent["tensor"] == pytest.approx(700 / 3), "its bytes were sent all the same"


def test_figures_without_a_witness_are_refused() -> None:
    with pytest.raises(ValueError, match="every founder"):
        in_peace().figures([0, 1, 2])
