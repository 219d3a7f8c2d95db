"""When a peer leads its line, and whom it calls late: asked of the parts of one machine."""

from __future__ import annotations

from one_line import LINE, ballot, here, peer, propose, seat

from marfl_peer.protocol.matchmaking import Matchmaking
from marfl_peer.protocol.succession import Succession
from marfl_peer.protocol.timetable import Limits

LIMITS = Limits(gather_until=11.0, wait_until=12.0, call_late_at=11.25, step_s=0.25)


def arrived(me: int) -> Matchmaking:
    machine = Matchmaking(peer(me), LINE)
    machine.limits = LIMITS
    machine.arrive(seat(me), update_s=0.1, now=0.0)
    return machine


def succession_of(machine: Matchmaking) -> Succession:
    return machine._succession


def test_lowest_leads_until_its_own_gathering_is_over_and_calls_nobody_late() -> None:
    succession = succession_of(arrived(0))
    assert succession.leads()
    assert succession.gather_until(LIMITS) == LIMITS.gather_until
    assert succession.next_call(LIMITS) is None


def test_member_calls_its_leader_late_when_its_own_time_has_come() -> None:
    succession = succession_of(arrived(2))
    assert not succession.leads()
    assert succession.next_call(LIMITS) == (11.25, {peer(0)})


def test_member_that_accepted_a_proposal_or_knows_of_a_result_calls_nobody_late() -> None:
    exchanging = arrived(2)
    exchanging.heard(peer(0), propose(1, 0, 1, 2, 3), now=1.0)
    assert succession_of(exchanging).next_call(LIMITS) is None
    knowing = arrived(2)
    knowing.ballots.holds(ballot(1), peer(1))
    assert succession_of(knowing).next_call(LIMITS) is None


def test_deputy_leads_only_where_it_is_here_and_proposes_only_in_company() -> None:
    absent = Matchmaking(peer(1), LINE)
    absent.limits = LIMITS
    absent._late.call([peer(0)], now=11.25)
    assert not succession_of(absent).leads()
    machine = arrived(1)
    machine._late.call([peer(0)], now=11.25)
    succession = succession_of(machine)
    assert succession.leads()
    assert succession.gather_until(LIMITS) is None, "alone"
    machine.heard(peer(2), here(2), now=11.3)
    assert succession.gather_until(LIMITS) == 11.5


def test_deputy_that_has_given_up_is_called_late_by_who_comes_then() -> None:
    machine = arrived(0)
    machine._late.call([peer(0)], now=11.25)
    succession = succession_of(machine)
    assert machine.leader == peer(1)
    succession.declined(peer(1), 2, now=20.0)
    assert machine.leader == peer(1), "that was another's cell"
    for number in (1, 2, 3):
        succession.declined(peer(number), number, now=20.0)
    assert machine.leader == peer(0), "nobody else is left"
    assert succession.leads()
