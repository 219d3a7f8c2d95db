from __future__ import annotations

import pytest
from broken import NEWCOMER, found, scenario, violations
from courts import TIME, Court, held, vector

from marfl_peer.facts import IterationSkipped
from marfl_peer.lab.simulator.invariants.liveness import Liveness
from marfl_peer.lab.simulator.invariants.scene import Told


def skipped(court: Court, iteration: int, reason: str = "behind") -> Told:
    return Told(time=TIME, life=court.lives[0], fact=IterationSkipped(iteration=iteration, reason=reason))


@pytest.mark.parametrize(
    ("iterations", "what"), [((1, 1), "ends iteration 1 after 1"), ((1, 3), "ends iteration 3 after 1")]
)
def test_liveness_wants_every_iteration_once(iterations: tuple[int, ...], what: str) -> None:
    court = Court()
    court.peace.broken(1.0, "cut")
    checker = Liveness(court.trial)
    for iteration in iterations:
        checker.see(skipped(court, iteration))
    assert court.said() == [what]


def test_liveness_wants_a_reason_and_an_occasion() -> None:
    court = Court()
    checker = Liveness(court.trial)
    checker.see(skipped(court, 1, reason=""))
    assert ["without a reason" in court.said()[0], "nothing ever went wrong" in court.said()[1]] == [True, True]


def test_liveness_of_two_that_give_up_one_line_is_broken() -> None:
    court = Court()
    court.peace.broken(TIME - 1.0, "killed", 1)
    checker = Liveness(court.trial)
    for who in (0, 2):
        checker.see(held(court, who, court.line(), None, (), 0, vector(0.0)))
    assert any("so did peer 0" in text for text in court.said())


@pytest.mark.parametrize(("ago_s", "is_found"), [(1.0, False), (5.0, True)])
def test_liveness_knows_who_was_lost_too_late_for_another_ballot(ago_s: float, is_found: bool) -> None:
    court = Court(peers=3, group_size=3)
    court.peace.broken(TIME - ago_s, "power lost", 1)
    court.lives[1].ended_at, court.lives[1].was_killed = TIME - ago_s, True
    checker = Liveness(court.trial)
    for who in (0, 2):
        checker.see(held(court, who, court.line(), None, (), 0, vector(0.0)))
    assert any("so did peer 0" in text for text in court.said()) == is_found


def test_liveness_in_the_end_asks_who_still_runs() -> None:
    court = Court(peers=2)
    court.lives[0].ended_at = 5.0
    Liveness(court.trial).ended(TIME)
    assert [charge.life for charge in court.charges] == [court.lives[1]]


def test_liveness_finds_who_stops_too_soon() -> None:
    assert "I5" in found("stops too soon", scenario())


def test_liveness_finds_a_skip_without_a_reason() -> None:
    messages = [one.message for one in violations("skip without a reason", scenario(NEWCOMER, iterations=8))]
    assert any("without a reason" in message for message in messages)
