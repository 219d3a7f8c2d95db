from __future__ import annotations

from dataclasses import replace

from broken import found, scenario
from courts import TIME, Court

from marfl_peer.lab.simulator.invariants.failures import Failures
from marfl_peer.lab.simulator.invariants.scene import Trouble
from marfl_peer.lab.simulator.network import Climate


def test_failure_in_a_loop_is_told() -> None:
    court = Court()
    Failures(court.trial).see(Trouble(time=TIME, player=court.lives[1].player, what="failure a task failed"))
    assert court.said() == ["peer 1: failure a task failed"]


def test_failure_of_a_peer_is_excused_only_where_it_found_nobody() -> None:
    court = Court()
    checker = Failures(court.trial)
    court.lives[0].player.error = "dht: nobody answers"
    checker.ended(TIME)
    assert "nobody answers" in court.said()[0]
    court.peace.broken(1.0, "killed")
    checker.ended(TIME)
    assert len(court.charges) == 1
    court.lives[1].player.error = "failed: KeyError(1)"
    checker.ended(TIME)
    assert "KeyError" in court.said()[1]


def test_failure_that_is_planted_is_found() -> None:
    """A leader proposes to all at once: another's word comes before its own where that is lost, and sent again."""
    lossy = replace(scenario(iterations=6), climate=Climate(loss=0.05))
    assert "failure" in found("raises on early ready", lossy)
