from __future__ import annotations

from broken import NEWCOMER, found, scenario
from courts import peer

from marfl_peer.lab.simulator.invariants.views import members_in
from marfl_peer.protocol.view import MembershipEvent, MembershipKind


def event(number: int, kind: MembershipKind, iteration: int, incarnation: int = 1) -> MembershipEvent:
    return MembershipEvent(peer_id=peer(number), incarnation=incarnation, kind=kind, iteration=iteration)


def test_views_follow_from_events_two_iterations_later() -> None:
    events = (event(1, "joined", -1), event(2, "joined", 3), event(1, "lost", 4))
    assert members_in(events, 4) == {peer(1): 1}
    assert members_in(events, 5) == {peer(1): 1, peer(2): 1}
    assert members_in(events, 6) == {peer(2): 1}


def test_views_count_the_higher_incarnation_and_losses_before_joinings() -> None:
    events = (event(1, "lost", 1), event(1, "joined", 1), event(2, "lost", 1), event(2, "joined", 1, incarnation=2))
    assert members_in(events, 3) == {peer(2): 2}


def test_views_do_not_take_a_merge_for_a_peer() -> None:
    events = (event(1, "joined", -1), event(2, "merged", 2))
    assert members_in(events, 6) == {peer(1): 1}


def test_views_that_change_too_early_are_found() -> None:
    assert "views" in found("event an iteration early", scenario(NEWCOMER, iterations=8))
