from __future__ import annotations

from dataclasses import replace

import pytest
from broken import found, scenario
from courts import Court, agreed, ballot, held, member, peer, vector

from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.ids import Iteration
from marfl_peer.lab.simulator.invariants.mean import MeanPreservation
from marfl_peer.lab.simulator.invariants.sight import Rounding, Vector
from marfl_peer.lab.simulator.run import run
from marfl_peer.peer.feedback import Feedback, Spot

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


def rounded(*iterations: tuple[int, dict[int, Vector], dict[int, Vector]]) -> Court:
    """Peer 0 in its exchange of round 1: what rounding left over before and after."""
    court = Court()
    checker = MeanPreservation(court.trial)
    for iteration, before, after in iterations:
        rounding = Rounding(place=0, before=before, after=after, carried=vector(0.0, 0.0))
        scene = held(court, 0, court.line(iteration=iteration), ballot(), (0, 2), 0, vector(0.0, 0.0))
        checker._see_rounding(scene, rounding)
    return court


def test_residuals_of_the_iteration_before_are_fed_back_or_none() -> None:
    left = {0: vector(0.1, 0.2)}
    assert rounded((1, {}, left), (2, left, {}), (3, {}, left), (4, left, left)).charges == []


@pytest.mark.parametrize("before", [{0: vector(0.1, 0.3)}, {1: vector(0.1, 0.2)}])
def test_residuals_that_were_not_left_over_are_told(before: dict[int, Vector]) -> None:
    assert "did not leave over" in rounded((1, {}, {0: vector(0.1, 0.2)}), (2, before, {})).said()[0]
    assert "did not leave over" in rounded((1, {}, before), (3, before, {})).said()[0]


def test_rounding_counts_as_what_it_is_carried_on_as() -> None:
    """The mean of what was brought is off by exactly what the members' rounding left over, which they feed back."""
    court = played(4, 3.0, 1.0)
    deal = court.ledger.deal(court.line(), ballot(), court.view)
    deal.carried.update({peer(0): vector(0.25, 0.0), peer(2): vector(0.0, -0.5)})
    checker = MeanPreservation(court.trial)
    checker.see(held(court, 0, court.line(), ballot(), (0, 2), 4, vector(3.25, 0.5)))
    assert court.charges == []
    checker.see(held(court, 2, court.line(), ballot(), (0, 2), 4, vector(3.0, 1.0)))
    assert "off the weighted mean" in court.said()[0]


def test_rounding_of_members_that_are_not_through_is_awaited() -> None:
    court = played(4, 3.0, 1.0)
    court.ledger.deal(court.line(), ballot(), court.view).carried[peer(0)] = vector(0.25, 0.0)
    MeanPreservation(court.trial).see(held(court, 0, court.line(), ballot(), (0, 2), 4, vector(9.0, 9.0)))
    assert court.charges == []


def test_mean_holds_in_a_swarm_that_rounds() -> None:
    assert run(replace(scenario(iterations=3), codec="theta=int8,momentum=topk:0.2")).violations == []


def test_mean_finds_residuals_that_are_fed_back_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Feedback.keep

    def keep_twice(self: Feedback, iteration: Iteration, spot: Spot, left: Residuals) -> None:
        doubled = Residuals(left._length)
        for start in left:
            one = left.at(start)
            assert one is not None
            doubled.keep(start, 2 * one, is_whole=True)
        keep(self, iteration, spot, doubled)

    monkeypatch.setattr(Feedback, "keep", keep_twice)
    report = run(replace(scenario(iterations=2), codec="int8"))
    assert {violation.invariant for violation in report.violations} == {"I2"}
