from __future__ import annotations

from broken import found, scenario
from courts import Court, ballot, held, vector

from marfl_peer.lab.simulator.invariants.rematch import NoRematch

ONE = vector(1.0)


def test_rematch_of_two_peers_is_told() -> None:
    court = Court()
    checker = NoRematch(court.trial)
    checker.see(held(court, 0, court.line(), ballot(), (0, 2), 2, ONE))
    checker.see(held(court, 2, court.line(), ballot(), (0, 2), 2, ONE))
    checker.see(held(court, 0, court.line(round=2), ballot(), (0, 1), 2, ONE))
    assert court.charges == []
    checker.see(held(court, 2, court.line(round=2), ballot(), (2, 0), 2, ONE))
    assert "meet on line 0 of round 2" in court.said()[0]


def test_rematch_in_another_iteration_or_with_somebody_lost_is_silent() -> None:
    court = Court()
    checker = NoRematch(court.trial)
    checker.see(held(court, 0, court.line(), ballot(), (0, 2), 2, ONE))
    checker.see(held(court, 0, court.line(iteration=2), ballot(), (0, 2), 2, ONE))
    court.lives[3].ended_at = 1.0
    checker.see(held(court, 0, court.line(round=2), ballot(), (0, 2), 2, ONE))
    assert court.charges == []


def test_rematch_where_others_play_for_who_was_started_again_is_silent() -> None:
    """The view that runs counts its earlier life; in one that counts the new one it plays for itself."""
    court = Court()
    checker = NoRematch(court.trial)
    court.lives[3].incarnation = court.view.incarnations[court.lives[3].peer_id] + 1
    checker.see(held(court, 0, court.line(), ballot(), (0, 2), 2, ONE))
    checker.see(held(court, 0, court.line(round=2), ballot(), (0, 2), 2, ONE))
    assert court.charges == []
    court.lives[3].incarnation -= 1
    checker.see(held(court, 2, court.line(), ballot(), (0, 2), 2, ONE))
    checker.see(held(court, 2, court.line(round=2), ballot(), (0, 2), 2, ONE))
    assert len(court.charges) == 1


def test_rematch_finds_axes_that_do_not_rotate() -> None:
    assert "I3" in found("axes not rotated", scenario())
