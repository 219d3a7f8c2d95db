"""Who is called late, when and by whom: the bookkeeping, then one peer's machine. Whole groups: test_late_leaders."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import pytest
from one_line import LINE, NAME, ballot, here, peer, propose, seat, sent

from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.instructions import FinishLine, Instruction
from marfl_peer.protocol.lateness import Lateness
from marfl_peer.protocol.matchmaking import Matchmaking
from marfl_peer.protocol.messages import Done, Here, Propose
from marfl_peer.protocol.phases import Phase
from marfl_peer.protocol.timetable import Limits

LIVE = {peer(number) for number in range(4)}
LIMITS = Limits(gather_until=11.0, wait_until=12.0, call_late_at=11.25, step_s=0.25)


def here_are(*numbers: int) -> object:
    return {peer(number) for number in numbers}.__contains__


def lateness(*called: int, at: float = 11.25) -> tuple[Lateness, BallotBox]:
    ballots = BallotBox()
    late = Lateness(LINE, ballots)
    late.call([peer(number) for number in called], now=at)
    return late, ballots


def next_call(late: Lateness, leader: int, *present: int, first: float = 11.25) -> tuple[float, list[int]] | None:
    found = late.next_call(peer(leader), LIVE, here_are(*present), first=first, step=0.25)  # type: ignore[arg-type]
    return None if found is None else (found[0], sorted(int(one, 16) for one in found[1]))


# what is known


def test_lowest_that_is_not_late_leads_and_where_all_are_the_lowest() -> None:
    late, _ = lateness()
    assert late.leader_of(LIVE) == peer(0)
    late.call([peer(0), peer(2)], now=0.0)
    assert late.leader_of(LIVE) == peer(1)
    assert late.leader_of([peer(2), peer(0)]) == peer(0)
    assert late.leader_of([]) is None


def test_ballot_takes_a_call_back_whether_it_came_before_or_after() -> None:
    late, ballots = lateness(0, 1)
    ballots.saw(ballot(1, 0))
    assert late.named == (peer(1),)
    late.call([peer(0)], now=12.0)
    assert late.named == (peer(1),)


def test_strangers_to_the_line_are_not_called_late() -> None:
    assert lateness(8, 77)[0].named == ()


def test_leader_alone_is_called_late_first_and_not_before_ones_own_time() -> None:
    assert next_call(lateness()[0], 0, 3) == (11.25, [0])


def test_deputy_that_said_nothing_is_late_a_step_later_with_all_below_those_who_did() -> None:
    assert next_call(lateness(0)[0], 1, 3) == (11.5, [1, 2])
    assert next_call(lateness(0)[0], 1, 2, 3) == (11.5, [1])


def test_deputy_that_is_here_has_a_step_more() -> None:
    assert next_call(lateness(0)[0], 1, 1, 3) == (11.75, [1, 2])


def test_calls_of_others_do_not_make_ones_own_time_earlier() -> None:
    assert next_call(lateness(0, at=3.0)[0], 1, 3) == (11.25, [1, 2])


def test_nobody_is_called_late_where_nobody_here_could_lead_instead() -> None:
    assert next_call(lateness(0)[0], 1) is None
    assert next_call(lateness(0)[0], 1, 1) is None


def test_who_made_a_ballot_or_is_called_late_already_is_not_called_late() -> None:
    late, ballots = lateness(0, 1, 2, 3)
    assert next_call(late, 0, 3) is None
    ballots.saw(ballot(1, 2))
    assert next_call(late, 2, 3) is None


def test_who_leads_instead_of_a_late_one_counts_from_the_first_call() -> None:
    late, ballots = lateness()
    assert late.first_called_at(peer(1)) is None
    late.call([peer(0)], now=11.25)
    late.call([peer(1)], now=11.5)
    assert late.first_called_at(peer(2)) == 11.25
    assert late.first_called_at(peer(1)) is None
    ballots.proposers |= {peer(0), peer(1)}
    assert late.first_called_at(peer(2)) is None


# one peer


def arrived(me: int) -> Matchmaking:
    machine = absent(me)
    machine.arrive(seat(me), update_s=0.1, now=0.0)
    return machine


def absent(me: int) -> Matchmaking:
    machine = Matchmaking(peer(me), LINE)
    machine.limits = LIMITS
    return machine


def calls(number: int, *late: int) -> Here:
    return msgspec.structs.replace(here(number), late=tuple(peer(one) for one in late))


def hear(machine: Matchmaking, sender: int, message: object, now: float = 11.3) -> list[Instruction]:
    return machine.heard(peer(sender), message, now=now)  # type: ignore[arg-type]


def late_in(steps: list[Instruction]) -> dict[int, list[int]]:
    """Who is told that who is late."""
    return {to: [int(one, 16) for one in message.late] for to, message in sent(steps, Here)}  # type: ignore[attr-defined]


def test_member_that_heard_of_no_proposal_calls_its_leader_late_and_tells_all() -> None:
    machine = arrived(2)
    assert machine.next_deadline() == 11.25
    assert machine.tick(now=11.2499) == []
    assert late_in(machine.tick(now=11.25)) == {0: [0], 1: [0], 3: [0]}
    assert machine.leader == peer(1)
    assert machine.tick(now=11.26) == []
    assert machine.next_deadline() == 11.5


def test_member_that_accepted_a_ballot_or_knows_a_result_calls_nobody_late() -> None:
    exchanging = arrived(2)
    hear(exchanging, 0, propose(1, 0, 1, 2, 3))
    fetching = arrived(2)
    hear(fetching, 3, Done(name=NAME, completed=ballot(1)))
    for machine in (exchanging, fetching):
        assert sent(machine.tick(now=11.9), Here) == []
        assert machine.next_deadline() == 12.0


def test_who_hears_a_call_says_here_to_all_and_the_deputy_proposes_a_step_later() -> None:
    machine = arrived(1)
    assert late_in(hear(machine, 2, calls(2, 0))) == {0: [0], 2: [0], 3: [0]}
    assert hear(machine, 3, calls(3, 0)) == []
    assert machine.next_deadline() == pytest.approx(11.55)
    assert [to for to, _ in sent(machine.tick(now=11.56), Propose)] == [2, 3]


def test_deputy_does_not_wait_where_everybody_is_here() -> None:
    machine = arrived(1)
    hear(machine, 2, calls(2, 0))
    hear(machine, 3, calls(3, 0))
    assert [to for to, _ in sent(hear(machine, 0, calls(0, 0)), Propose)] == [0, 2, 3]


def test_deputy_makes_no_ballot_of_its_own_alone() -> None:
    machine = arrived(1)
    machine.tick(now=11.25)
    assert machine.leader == peer(1)
    assert machine.next_deadline() == 12.0
    assert sent(machine.tick(now=11.9), Propose) == []
    assert any(isinstance(step, FinishLine) and step.ballot is None for step in machine.tick(now=12.0))


def test_deputy_that_is_not_here_does_not_lead_and_the_next_one_does() -> None:
    trains, machine = absent(1), arrived(2)
    hear(trains, 2, calls(2, 0))
    assert hear(trains, 3, calls(3, 0), now=11.6) == []
    assert trains.next_deadline() is None
    machine.tick(now=11.25)
    hear(machine, 3, calls(3, 0))
    steps = machine.tick(now=11.5)
    assert set(late_in(steps)[0]) == {0, 1}
    assert [to for to, _ in sent(steps, Propose)] == [3]


def test_leader_that_is_called_late_before_it_proposed_follows() -> None:
    machine = arrived(0)
    assert set(late_in(hear(machine, 2, calls(2, 0)))) == {1, 2, 3}
    assert sent(machine.tick(now=11.9), Propose) == []
    hear(machine, 1, propose(1, 0, 1, 2, leader=1))
    assert machine.phase is Phase.EXCHANGING


def test_leader_that_proposed_says_so_and_leads_on() -> None:
    machine = arrived(0)
    hear(machine, 1, here(1))
    machine.tick(now=11.0)
    steps = hear(machine, 2, calls(2, 0))
    [(to, message)] = sent(steps, Here)
    assert (to, message.promised, message.late) == (2, ballot(1), ())  # type: ignore[attr-defined]
    assert machine.leader == peer(0)


def test_member_under_a_ballot_of_who_is_called_late_says_so() -> None:
    machine, caller = arrived(1), arrived(3)
    hear(machine, 0, propose(1, 0, 1))
    caller.tick(now=11.25)
    [(to, answer)] = sent(hear(machine, 3, calls(3, 0)), Here)
    assert to == 3
    assert sent(hear(caller, 1, answer), Here) == [(0, caller.here())]
    assert caller.leader == peer(0)
    assert caller.next_deadline() == 12.0


def test_who_holds_a_result_says_so_to_who_calls() -> None:
    machine = arrived(1)
    hear(machine, 0, propose(1, 0, 1))
    machine.exchanged(ballot(1), now=11.1)
    assert sent(hear(machine, 3, calls(3, 0)), Done) == [(3, Done(name=NAME, completed=ballot(1)))]


@pytest.mark.parametrize("message", [calls(17, 0), msgspec.structs.replace(calls(2, 0), view_digest="other")])
def test_call_of_who_may_not_sit_there_is_not_believed(message: Here) -> None:
    machine = arrived(1)
    hear(machine, 2, message)
    assert machine.leader == peer(0)


def test_call_of_a_dead_one_still_hurries_who_leads_then() -> None:
    machine = arrived(1)
    hear(machine, 2, calls(2, 0), now=5.0)
    machine.gone(peer(0), now=5.1)
    for candidate in (8, 9):
        machine.gone(peer(candidate), now=5.1)
    assert [to for to, _ in sent(machine.tick(now=5.3), Propose)] == [2]


def test_times_that_are_not_set_call_nobody() -> None:
    machine = arrived(2)
    machine.limits = Limits()
    assert machine.next_deadline() is None
    assert machine.tick(now=math.inf) == []


def test_who_is_dial_only_leads_and_follows_as_the_last() -> None:
    line = dataclasses.replace(LINE, dial_only=frozenset({peer(0), peer(2)}))
    late = Lateness(line, BallotBox())
    assert late.leader_of(LIVE) == peer(1)
    assert late.leader_of({peer(0), peer(2)}) == peer(0)
    late.call([peer(1)], now=11.25)
    assert late.leader_of(LIVE) == peer(3)
    assert next_call(late, 3, 0, 3) == (11.75, [3])
