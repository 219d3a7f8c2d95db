from __future__ import annotations

from broken import RESTARTED, scenario
from courts import TIME, Court, agreed, ballot, member, peer, vector

from marfl_peer.facts import PeerStarted
from marfl_peer.lab.simulator.invariants.lives import NothingLost
from marfl_peer.lab.simulator.invariants.scene import Life, Told
from marfl_peer.lab.simulator.run import run

LONG = scenario(RESTARTED, iterations=20, batch_s=0.3)


def test_lives_with_a_new_incarnation_enter_no_running_ballot() -> None:
    court = Court()
    checker = NothingLost(court.trial)
    court.lives[0].incarnation = 2
    checker.see(agreed(court, 0, court.line(), ballot(), (member(0), member(2)), vector(1.0)))
    assert "in the place of incarnation 1" in court.said()[0]


def started(life: Life) -> Told:
    fact = PeerStarted(
        peer_id=life.peer_id, incarnation=life.incarnation, run_id="run", host="10.0.0.0", port=1, task="blobs"
    )
    return Told(time=TIME, life=life, fact=fact)


def test_lives_of_one_peer_have_growing_incarnations() -> None:
    court = Court()
    checker = NothingLost(court.trial)
    first = court.lives[0]
    checker.see(started(first))
    second = Life(player=first.player, number=1, began_at=5.0, peer_id=first.peer_id, incarnation=2)
    checker.see(started(second))
    assert court.charges == []
    third = Life(player=first.player, number=2, began_at=6.0, peer_id=first.peer_id, incarnation=2)
    checker.see(started(third))
    assert "incarnation 2 again" in court.said()[0]


def test_lives_of_a_peer_that_lost_its_disk_are_another_peers() -> None:
    court = Court()
    checker = NothingLost(court.trial)
    checker.see(started(court.lives[0]))
    other = Life(player=court.lives[0].player, number=1, began_at=5.0, peer_id=peer(9), incarnation=1)
    checker.see(started(other))
    assert court.charges == []


def test_lives_of_a_restarted_peer_break_nothing() -> None:
    assert run(LONG).violations == []
