from __future__ import annotations

from courts import Court, peer

from marfl_peer.lab.simulator.invariants.scene import Life


def test_life_ran_as_long_as_it_was_not_paused() -> None:
    life = Court().lives[0]
    life.paused_s, life.paused_at = 2.0, 8.0
    assert life.ran_s(10.0) == 6.0


def test_cast_knows_who_runs_and_who_was_killed() -> None:
    court = Court(peers=2)
    first = court.lives[0]
    first.ended_at, first.was_killed = 5.0, True
    assert court.cast.by_id(peer(0)) is None
    assert court.cast.was_killed(peer(0), since=4.0)
    assert not court.cast.was_killed(peer(0), since=6.0)
    assert not court.cast.was_killed(peer(1), since=0.0)
    second = Life(player=first.player, number=1, began_at=7.0, peer_id=peer(0), incarnation=2)
    court.cast.lives[0].append(second)
    assert court.cast.by_id(peer(0)) is second
    assert not court.cast.was_killed(peer(0), since=4.0)
    assert str(second) == "peer 0 (life 2)"
