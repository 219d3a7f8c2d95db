from __future__ import annotations

import pytest
from broken import found, scenario
from courts import Court, agreed, ballot, held, member, vector

from marfl_peer.lab.simulator.invariants.mean import MeanPreservation

MEMBERS = (member(0, weight=1), member(2, weight=3))


def played(weight: int, *result: float, accepted: tuple[int, ...] = (0, 2)) -> Court:
    """Cells 0 and 2 bring (0, 4) and (4, 0) with weights 1 and 3; peer 0 holds the result."""
    court = Court()
    checker = MeanPreservation(court.trial)
    own = {0: vector(0.0, 4.0), 2: vector(4.0, 0.0)}
    for who in accepted:
        scene = agreed(court, who, court.line(), ballot(), MEMBERS, own[who])
        court.ledger.see(scene)
        checker.see(scene)
    checker.see(held(court, 0, court.line(), ballot(), (0, 2), weight, vector(*result)))
    return court


def test_mean_of_what_was_brought_is_silent() -> None:
    assert played(4, 3.0, 1.0).charges == []


@pytest.mark.parametrize(
    ("weight", "result", "what"), [(3, (3.0, 1.0), "weight 3, not 4"), (4, (3.0, 1.01), "off the weighted mean")]
)
def test_mean_that_is_off_is_told(weight: int, result: tuple[float, float], what: str) -> None:
    assert what in played(weight, *result).said()[0]


def test_mean_without_a_member_that_accepted_is_told() -> None:
    assert "never accepted it" in played(4, 3.0, 1.0, accepted=(0,)).said()[0]


def test_mean_of_nan_is_told() -> None:
    assert "off the weighted mean" in played(4, float("nan"), 1.0).said()[0]


def test_mean_over_cells_of_another_line_is_told() -> None:
    court = Court()
    checker = MeanPreservation(court.trial)
    scene = agreed(court, 0, court.line(), ballot(), (member(0), member(1)), vector(0.0))
    court.ledger.see(scene)
    checker.see(scene)
    assert "not those of line 0" in court.said()[0]


def test_mean_of_a_cell_that_is_not_held_is_told() -> None:
    court = Court()
    checker = MeanPreservation(court.trial)
    scene = agreed(court, 0, court.line(round=2, lowest=2), ballot(), (member(0, cell=3),), vector(0.0))
    court.ledger.see(scene)
    checker.see(scene)
    assert "whose state it does not hold" in court.said()[0]


@pytest.mark.parametrize("bug", ["weight not summed", "complete before all is there"])
def test_mean_finds_what_is_summed_wrong(bug: str) -> None:
    assert "I2" in found(bug, scenario())
