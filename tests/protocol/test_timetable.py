from __future__ import annotations

import msgspec
from one_line import NAME, ballot, here, members, peer

from marfl_peer.protocol.deadlines import MIN_PATIENCE_S, gather_deadline, round_deadline
from marfl_peer.protocol.messages import Done, Here, Propose
from marfl_peer.protocol.timetable import Limits, Timetable

ALLOWANCE_S = 2.0


def said(update_s: float) -> Here:
    return Here(name=NAME, view_digest="", seats=here(1).seats, update_s=update_s, promised=None)


def test_nothing_ends_before_anybody_arrived() -> None:
    assert Timetable(allowance=ALLOWANCE_S, update_times_s=[]).limits(1) == Limits(step_s=ALLOWANCE_S / 8)


def test_first_message_starts_the_clock_of_leading_only() -> None:
    table = Timetable(allowance=ALLOWANCE_S, update_times_s=[])
    table.heard(peer(1), Done(name=NAME, completed=ballot(1)), now=5.0)
    table.heard(peer(2), said(0.1), now=9.0)
    gather = gather_deadline(5.0, 2, MIN_PATIENCE_S, ALLOWANCE_S)
    assert table.limits(2) == Limits(gather_until=gather, wait_until=None, step_s=ALLOWANCE_S / 8)


def test_own_arrival_starts_the_clock_of_waiting() -> None:
    table = Timetable(allowance=ALLOWANCE_S, update_times_s=[])
    table.heard(peer(1), said(0.1), now=5.0)
    table.arrive(peer(0), update_s=0.1, now=8.0)
    for round in (1, 2, 3):
        limits = table.limits(round)
        assert limits.gather_until == gather_deadline(5.0, round, MIN_PATIENCE_S, ALLOWANCE_S)
        assert limits.wait_until == round_deadline(8.0, round, MIN_PATIENCE_S, ALLOWANCE_S)
        assert limits.call_late_at == limits.wait_until - 3 / 8 * ALLOWANCE_S


def test_first_to_arrive_leads_from_then_on() -> None:
    table = Timetable(allowance=ALLOWANCE_S, update_times_s=[])
    table.arrive(peer(0), update_s=0.1, now=3.0)
    table.heard(peer(1), said(0.1), now=4.0)
    assert table.limits(1).gather_until == gather_deadline(3.0, 1, MIN_PATIENCE_S, ALLOWANCE_S)


def test_patience_is_twice_the_median_update_of_those_heard_of() -> None:
    table = Timetable(allowance=ALLOWANCE_S, update_times_s=[])
    table.arrive(peer(0), update_s=10.0, now=0.0)
    assert table.limits(1).wait_until == 20.0 + ALLOWANCE_S
    table.heard(peer(1), said(30.0), now=1.0)
    assert table.limits(1).wait_until == 40.0 + ALLOWANCE_S
    # Said again, it is the same peer's.
    table.heard(peer(1), said(30.0), now=1.0)
    assert table.limits(1).wait_until == 40.0 + ALLOWANCE_S


def test_peers_that_trained_nothing_say_nothing_about_patience() -> None:
    table = Timetable(allowance=ALLOWANCE_S, update_times_s=[])
    table.arrive(peer(0), update_s=0.0, now=0.0)
    table.heard(peer(1), said(0.0), now=0.5)
    assert table.limits(1).wait_until == MIN_PATIENCE_S + ALLOWANCE_S
    table.heard(peer(2), said(30.0), now=1.0)
    assert table.limits(1).wait_until == 60.0 + ALLOWANCE_S


def test_proposal_tells_the_updates_of_all_its_members() -> None:
    table = Timetable(allowance=ALLOWANCE_S, update_times_s=[])
    table.arrive(peer(0), update_s=50.0, now=0.0)
    proposal = Propose(name=NAME, ballot=ballot(1), view_digest="", members=members(1, 2))
    table.heard(peer(1), proposal, now=1.0)
    assert table.limits(1).wait_until == MIN_PATIENCE_S + ALLOWANCE_S


def test_patience_is_never_less_than_before_the_iteration() -> None:
    table = Timetable(allowance=ALLOWANCE_S, update_times_s=[20.0, 30.0, 40.0])
    table.arrive(peer(0), update_s=0.1, now=0.0)
    assert table.limits(1).wait_until == 60.0 + ALLOWANCE_S


def test_leader_counts_from_when_others_began_to_wait_however_late_it_hears_of_them() -> None:
    timetable = Timetable(allowance=2.0, update_times_s=())
    timetable.heard("a", msgspec.structs.replace(said(0.0), waited_s=3.0), now=10.0)
    assert timetable.limits(1).gather_until == 7.0 + 10.0 + 1.0
    timetable.heard("b", said(0.0), now=11.0)
    assert timetable.limits(1).gather_until == 18.0


def test_who_arrives_when_the_gathering_should_be_over_first_hears_the_others_out() -> None:
    timetable = Timetable(allowance=2.0, update_times_s=())
    timetable.heard("a", said(0.0), now=0.0)
    timetable.arrive("me", update_s=0.0, now=30.0)
    assert timetable.limits(1).gather_until == 30.25


def test_all_that_is_awaited_is_awaited_longer_by_what_may_hold_members_up() -> None:
    plain, delayed = (Timetable(allowance=2.0, update_times_s=[], delay_s=delay_s) for delay_s in (0.0, 7.0))
    for timetable in (plain, delayed):
        timetable.arrive("me", update_s=1.0, now=3.0)
        timetable.heard("a", said(20.0), now=4.0)
    for round in (1, 2):
        before, after = plain.limits(round), delayed.limits(round)
        assert before.wait_until is not None
        assert before.gather_until is not None
        assert (after.wait_until, after.gather_until) == (before.wait_until + 7.0, before.gather_until + 7.0)


def test_own_clock_runs_from_the_arrival() -> None:
    timetable = Timetable(allowance=2.0, update_times_s=())
    assert timetable.waited_s(5.0) == 0.0
    timetable.arrive("me", update_s=0.0, now=3.0)
    assert timetable.waited_s(5.0) == 2.0
