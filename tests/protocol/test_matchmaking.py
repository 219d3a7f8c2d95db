"""One line of four cells, played by peers 0..3; a fifth may take over. Messages by hand; swarms: test_iteration."""

from __future__ import annotations

import pytest
from one_line import LINE, NAME, VIEW, ballot, here, members, peer, propose, seat, sent

from marfl_peer.facts import ResultSuperseded, WaitEnded
from marfl_peer.protocol.instructions import (
    AbortExchange,
    FetchResult,
    FindPlayer,
    FinishLine,
    Instruction,
    OpenExchange,
    ReleaseResult,
    Send,
    Tell,
)
from marfl_peer.protocol.matchmaking import Matchmaking
from marfl_peer.protocol.messages import (
    CannotPlay,
    Culprit,
    Done,
    Have,
    Here,
    Member,
    Nack,
    Play,
    Propose,
    Ready,
    Take,
)
from marfl_peer.protocol.phases import Phase
from marfl_peer.protocol.timetable import Limits

LIMITS = Limits(gather_until=11.0, wait_until=12.0)


def line(me: int) -> Matchmaking:
    machine = Matchmaking(peer(me), LINE)
    machine.limits = LIMITS
    return machine


def arrived(me: int) -> Matchmaking:
    machine = line(me)
    machine.arrive(seat(me), update_s=0.1, now=0.0)
    return machine


def hear(machine: Matchmaking, sender: int, message: object, now: float = 1.0) -> list[Instruction]:
    return machine.heard(peer(sender), message, now=now)  # type: ignore[arg-type]


def exchanging(me: int) -> Matchmaking:
    machine = arrived(me)
    hear(machine, 0, propose(1, 0, 1, 2, 3))
    assert machine.phase is Phase.EXCHANGING
    return machine


def leading() -> Matchmaking:
    """Peer 0 leads and exchanges under its first ballot with everybody."""
    machine = arrived(0)
    for number in (1, 2, 3):
        hear(machine, number, here(number))
    assert machine.phase is Phase.EXCHANGING
    return machine


def finish(steps: list[Instruction]) -> FinishLine:
    [step] = [step for step in steps if isinstance(step, FinishLine)]
    return step


# members


def test_member_says_here_to_the_leader_alone() -> None:
    steps = line(2).arrive(seat(2), update_s=0.1, now=0.0)
    assert [to for to, _ in sent(steps, Here)] == [0]
    assert len(steps) == 1


def test_member_opens_the_exchange_that_is_proposed_and_is_ready_to_all() -> None:
    machine = arrived(2)
    steps = hear(machine, 0, propose(1, 0, 1, 2, 3))
    assert [step.ballot for step in steps if isinstance(step, OpenExchange)] == [ballot(1)]
    assert [to for to, _ in sent(steps, Ready)] == [0, 1, 3]
    assert machine.awaits(ballot(1))
    assert not machine.awaits(ballot(2))


def test_second_copy_of_a_proposal_is_ignored() -> None:
    machine = exchanging(2)
    assert hear(machine, 0, propose(1, 0, 1, 2, 3)) == []


def test_higher_ballot_aborts_the_lower_and_a_lower_one_is_answered_with_nack() -> None:
    machine = exchanging(2)
    steps = hear(machine, 0, propose(3, 0, 2))
    assert isinstance(steps[0], AbortExchange)
    assert steps[0].ballot == ballot(1)
    [(to, nack)] = sent(hear(machine, 0, propose(2, 0, 2)), Nack)
    assert (to, nack) == (0, Nack(name=NAME, ballot=ballot(2), promised=ballot(3)))


@pytest.mark.parametrize(
    "message",
    [
        propose(1, 0, 2, leader=1),
        propose(1, 0, 2, view="other"),
        propose(1, 2, 0),
        propose(1, 0, 2, 2),
        propose(1, 0, 2, 17),
        propose(10_001, 0, 2),
        propose(1, 0, 1),
    ],
)
def test_proposal_that_breaks_the_rules_is_ignored(message: Propose) -> None:
    machine = arrived(2)
    assert [step for step in hear(machine, 0, message) if isinstance(step, OpenExchange)] == []
    assert machine.phase is Phase.WAITING


def test_stranger_cannot_lead() -> None:
    assert hear(arrived(2), 9, propose(1, 2, leader=9)) == []


def test_proposal_with_seats_that_are_not_held_is_declined() -> None:
    steps = hear(line(2), 0, propose(1, 0, 2))
    assert sent(steps, CannotPlay) == [(0, CannotPlay(name=NAME, cell=2))]


def test_completed_member_answers_have_to_every_later_ballot() -> None:
    machine = exchanging(2)
    steps = machine.exchanged(ballot(1), now=2.0)
    assert finish(steps).outcome == "complete"
    assert [to for to, _ in sent(steps, Done)] == [0, 1, 3]
    assert sent(hear(machine, 1, propose(4, 1, 2, leader=1)), Have) == [(1, Have(name=NAME, completed=ballot(1)))]


def test_exchange_of_another_ballot_completes_nothing() -> None:
    machine = exchanging(2)
    hear(machine, 0, propose(2, 0, 2))
    assert machine.exchanged(ballot(1), now=2.0) == []
    assert finish(machine.exchanged(ballot(2), now=2.0)).outcome == "partial"


def test_result_is_released_once_when_all_the_living_hold_it() -> None:
    machine = exchanging(2)
    steps = machine.exchanged(ballot(1), now=2.0)
    steps += hear(machine, 0, Done(name=NAME, completed=ballot(1)))
    steps += hear(machine, 1, Done(name=NAME, completed=ballot(1)))
    assert ReleaseResult(name=NAME) not in steps
    assert machine.gone(peer(3), now=2.0) == [ReleaseResult(name=NAME)]
    assert hear(machine, 1, Done(name=NAME, completed=ballot(1))) == []


def test_member_that_waits_takes_a_result_as_soon_as_it_hears_of_one() -> None:
    machine = arrived(2)
    [fetch] = hear(machine, 3, Done(name=NAME, completed=ballot(1)))
    assert fetch == FetchResult(name=NAME, ballot=ballot(1), sources=(peer(3),))
    assert machine.fetched(ballot(2), (), now=2.0) == []
    assert finish(machine.fetched(ballot(1), (peer(3),), now=2.0)).outcome == "taken"


def test_late_member_takes_what_it_heard_of_before_it_came() -> None:
    machine = line(2)
    assert hear(machine, 1, Done(name=NAME, completed=ballot(1))) == []
    steps = machine.arrive(seat(2), update_s=0.1, now=3.0)
    assert [step.sources for step in steps if isinstance(step, FetchResult)] == [(peer(1),)]


def test_member_left_behind_in_a_lower_ballot_takes_the_higher() -> None:
    machine = exchanging(2)
    assert hear(machine, 1, Done(name=NAME, completed=ballot(1))) == []
    steps = hear(machine, 3, Done(name=NAME, completed=ballot(2)))
    assert [type(step) for step in steps] == [AbortExchange, FetchResult]


def test_failed_fetch_asks_the_leader_again() -> None:
    machine = arrived(2)
    hear(machine, 0, Take(name=NAME, completed=ballot(1), sources=(peer(1),)))
    assert machine.phase is Phase.FETCHING
    assert [to for to, _ in sent(machine.fetch_failed(now=2.0), Here)] == [0]
    assert machine.phase is Phase.WAITING
    assert machine.fetch_failed(now=2.0) == []


def test_result_that_nobody_has_any_more_is_given_up_once() -> None:
    machine = arrived(2)
    hear(machine, 0, Take(name=NAME, completed=ballot(1), sources=(peer(1),)))
    assert finish(machine.give_up(now=2.0)).outcome == "skipped"
    assert machine.is_given_up
    assert machine.give_up(now=2.0) == []
    assert machine.fetched(ballot(1), (peer(1),), now=2.1) == []


def test_take_without_another_source_is_ignored() -> None:
    machine = arrived(2)
    assert hear(machine, 0, Take(name=NAME, completed=ballot(1), sources=(peer(2),))) == []


def test_another_result_after_ones_own_is_counted_as_superseded() -> None:
    machine = exchanging(2)
    machine.exchanged(ballot(1), now=2.0)
    [told] = hear(machine, 0, Take(name=NAME, completed=ballot(2), sources=(peer(1),)))
    assert isinstance(told, Tell)
    assert isinstance(told.fact, ResultSuperseded)


def test_next_leader_is_told_where_the_leader_is_lost() -> None:
    steps = exchanging(2).gone(peer(0), now=2.0)
    [(to, message)] = sent(steps, Here)
    assert (to, message.promised) == (1, ballot(1))  # type: ignore[attr-defined]


def test_holder_tells_the_next_leader_what_it_holds() -> None:
    machine = exchanging(2)
    machine.exchanged(ballot(1), now=2.0)
    assert sent(machine.gone(peer(0), now=2.0), Done) == [(1, Done(name=NAME, completed=ballot(1)))]


def test_member_that_lost_another_in_between_asks_for_a_new_ballot() -> None:
    machine = exchanging(2)
    assert [to for to, _ in sent(machine.gone(peer(3), now=2.0), Here)] == [0]
    steps = machine.back(peer(3), now=3.0)
    assert sent(steps, Nack) == [(0, Nack(name=NAME, ballot=ballot(1), promised=ballot(1)))]
    assert machine.back(peer(3), now=3.0) == []


def test_wait_ends_at_the_deadline_and_the_leader_hears_of_it() -> None:
    for machine in (arrived(2), exchanging(2)):
        assert machine.next_deadline() == 12.0
        assert machine.tick(now=11.9) == []
        steps = machine.tick(now=12.0)
        assert finish(steps).outcome == "skipped"
        assert sent(steps, CannotPlay) == [(0, CannotPlay(name=NAME, cell=2))]
        [waited] = [step.fact for step in steps if isinstance(step, Tell) and isinstance(step.fact, WaitEnded)]
        assert (waited.outcome, waited.seconds, waited.allowed_s) == ("deadline", 12.0, 12.0)
        assert machine.next_deadline() is None
        assert machine.is_given_up


def test_line_that_nobody_leads_any_more_is_given_up_by_who_took_over() -> None:
    machine = line(8)
    machine.arrive(seat(1), update_s=0.1, now=0.0)
    steps = [step for number in range(4) for step in machine.gone(peer(number), now=1.0)]
    assert finish(steps).outcome == "skipped"


def test_exchange_that_needs_one_who_is_gone_is_given_up_where_nobody_is_left_to_make_another_ballot() -> None:
    machine = line(8)
    machine.arrive(seat(1), update_s=0.1, now=0.0)
    for number in (1, 2, 3):
        machine.gone(peer(number), now=1.0)
    mine = Member(peer_id=peer(8), seats=(seat(1),), update_s=0.1)
    ours = Propose(name=NAME, ballot=ballot(1), view_digest=VIEW, members=(*members(0), mine))
    hear(machine, 0, ours)
    assert machine.phase is Phase.EXCHANGING
    assert finish(machine.gone(peer(0), now=1.0)).outcome == "skipped"


def test_exchange_of_those_who_are_left_goes_on_though_nobody_leads_any_more() -> None:
    machine = line(8)
    machine.arrive(seat(1), update_s=0.1, now=0.0)
    pair = (
        Member(peer_id=peer(9), seats=(seat(0),), update_s=0.1),
        Member(peer_id=peer(8), seats=(seat(1),), update_s=0.1),
    )
    hear(machine, 0, Propose(name=NAME, ballot=ballot(1), view_digest=VIEW, members=pair))
    for number in range(4):
        machine.gone(peer(number), now=1.0)
    assert machine.leader is None
    assert machine.phase is Phase.EXCHANGING


# the leader


def test_leader_proposes_when_everybody_is_here() -> None:
    machine = arrived(0)
    assert hear(machine, 1, here(1)) == []
    assert hear(machine, 3, here(3)) == []
    steps = hear(machine, 2, here(2))
    assert [to for to, _ in sent(steps, Propose)] == [1, 2, 3]
    assert machine.phase is Phase.EXCHANGING


def test_leader_tells_the_others_before_it_opens_its_own_exchange() -> None:
    """What they prepare they prepare while it does."""
    machine = arrived(0)
    steps = [step for number in (1, 2, 3) for step in hear(machine, number, here(number))]
    kinds = [type(step.message if isinstance(step, Send) else step) for step in steps]
    assert kinds.index(OpenExchange) > max(place for place, kind in enumerate(kinds) if kind is Propose)
    assert kinds.index(Ready) > kinds.index(OpenExchange)


def test_leader_proposes_with_who_is_here_at_the_gather_deadline() -> None:
    machine = arrived(0)
    hear(machine, 2, here(2))
    assert machine.next_deadline() == 11.0
    steps = machine.tick(now=11.0)
    [(_, message)] = sent(steps, Propose)
    assert [member.peer_id for member in message.members] == [peer(0), peer(2)]  # type: ignore[attr-defined]
    assert machine.next_deadline() == 12.0


def test_leader_that_is_absent_leads_for_the_others() -> None:
    machine = line(0)
    for number in (1, 2, 3):
        hear(machine, number, here(number))
    assert machine.phase is Phase.ABSENT
    assert [to for to, _ in sent(machine.tick(now=11.0), Propose)] == [1, 2, 3]


@pytest.mark.parametrize("message", [here(1, view="other"), here(1, 1, 1), here(1, 2), here(1, 17)])
def test_leader_does_not_seat_who_may_not_sit_there(message: Here) -> None:
    machine = arrived(0)
    hear(machine, 1, message)
    [(_, proposal)] = sent([*hear(machine, 2, here(2)), *machine.tick(now=11.0)], Propose)
    assert [member.peer_id for member in proposal.members] == [peer(0), peer(2)]  # type: ignore[attr-defined]


def test_leader_asks_the_next_candidate_when_one_cannot_play() -> None:
    machine = arrived(0)
    assert sent(machine.gone(peer(3), now=1.0), Play) == [(8, Play(name=NAME, cell=3))]
    assert machine.gone(peer(3), now=1.0) == []
    assert sent(hear(machine, 8, CannotPlay(name=NAME, cell=3)), Play) == [(9, Play(name=NAME, cell=3))]
    hear(machine, 9, here(9, 3))
    hear(machine, 1, here(1))
    assert [to for to, _ in sent(hear(machine, 2, here(2)), Propose)] == [1, 2, 9]


def test_candidate_that_was_lost_and_is_back_is_asked_again() -> None:
    machine = arrived(0)
    machine.gone(peer(3), now=1.0)
    assert sent(machine.gone(peer(8), now=1.0), Play) == [(9, Play(name=NAME, cell=3))]
    assert sent(machine.back(peer(8), now=1.0), Play) == [(8, Play(name=NAME, cell=3))]


def test_player_that_is_back_plays_its_cell_instead_of_who_took_over() -> None:
    machine = arrived(0)
    machine.gone(peer(3), now=1.0)
    hear(machine, 8, here(8, 3))
    hear(machine, 3, here(3))
    hear(machine, 1, here(1))
    assert [to for to, _ in sent(hear(machine, 2, here(2)), Propose)] == [1, 2, 3]


def test_play_for_a_cell_that_this_peer_cannot_take_over_is_ignored() -> None:
    assert hear(line(2), 0, Play(name=NAME, cell=1)) == []
    assert hear(line(8), 0, Play(name=NAME, cell=99)) == []
    assert hear(line(8), 0, Play(name=NAME, cell=1)) == [FindPlayer(name=NAME, cell=1)]


def test_loss_of_a_member_makes_a_new_ballot_without_it() -> None:
    machine = leading()
    for candidate in (8, 9):
        machine.gone(peer(candidate), now=1.0)
    steps = machine.gone(peer(3), now=1.0)
    assert [to for to, _ in sent(steps, Propose)] == [1, 2]
    assert AbortExchange(name=NAME, ballot=ballot(1)) in steps


def test_nack_makes_the_next_ballot_higher() -> None:
    machine = leading()
    steps = hear(machine, 2, Nack(name=NAME, ballot=ballot(1), promised=ballot(7, 1)))
    assert {message.ballot for _, message in sent(steps, Propose)} == {ballot(8)}  # type: ignore[attr-defined]
    assert hear(machine, 2, Nack(name=NAME, ballot=ballot(1), promised=ballot(7, 1))) == []


def test_have_makes_everybody_take_that_result() -> None:
    machine = arrived(0)
    for number in (1, 2):
        hear(machine, number, here(number))
    machine.gone(peer(3), now=1.0)
    hear(machine, 8, here(8, 3))
    machine.back(peer(3), now=2.0)
    steps = hear(machine, 3, Have(name=NAME, completed=ballot(0, 1)))
    assert [to for to, _ in sent(steps, Take)] == [1, 2, 8]


def test_member_given_up_on_its_seat_is_left_out_of_the_next_ballot() -> None:
    machine = leading()
    for candidate in (8, 9):
        machine.gone(peer(candidate), now=1.0)
    assert [to for to, _ in sent(hear(machine, 2, CannotPlay(name=NAME, cell=2)), Propose)] == [1, 3]


def test_culprit_of_the_running_ballot_is_left_out_and_given_the_result() -> None:
    machine = leading()
    for candidate in (8, 9):
        machine.gone(peer(candidate), now=1.0)
    for wrong in (
        Culprit(name=NAME, ballot=ballot(9), peer_id=peer(3)),
        Culprit(name=NAME, ballot=ballot(1), peer_id=peer(9)),
    ):
        assert hear(machine, 2, wrong) == []
    steps = hear(machine, 2, Culprit(name=NAME, ballot=ballot(1), peer_id=peer(3)))
    assert [to for to, _ in sent(steps, Propose)] == [1, 2]
    assert [to for to, _ in sent(machine.exchanged(ballot(2), now=2.0), Take)] == [3]


@pytest.mark.parametrize("told", [False, True])
def test_result_of_a_culprit_is_nobody_s(told: bool) -> None:
    """It may complete the ballot itself, since all others sent it theirs: what it says it has is not fetched."""
    machine = leading()
    for candidate in (8, 9):
        machine.gone(peer(candidate), now=1.0)
    if told:
        steps = hear(machine, 2, Culprit(name=NAME, ballot=ballot(1), peer_id=peer(3)))
    else:
        steps = machine.blame(ballot(1), peer(3), now=1.0)
    assert [to for to, _ in sent(steps, Propose)] == [1, 2]
    for message in (Have(name=NAME, completed=ballot(1)), Done(name=NAME, completed=ballot(1))):
        steps = hear(machine, 3, message)
        assert not [step for step in steps if isinstance(step, FetchResult)]
        assert not sent(steps, Take)
    assert [to for to, _ in sent(machine.exchanged(ballot(2), now=2.0), Done)] == [1, 2, 3]


def test_rival_ballots_end_with_one_that_all_accept() -> None:
    leader = leading()
    members = {number: arrived(number) for number in (2, 3)}
    for member in members.values():
        hear(member, 1, propose(1, 1, 2, 3, leader=1))
    [(_, nack)] = sent(hear(members[2], 0, propose(1, 0, 1, 2, 3)), Nack)
    proposals = sent(hear(leader, 2, nack), Propose)
    for number, member in members.items():
        steps = hear(member, 0, dict(proposals)[number])
        assert [step.ballot for step in steps if isinstance(step, OpenExchange)] == [ballot(2)]


# one of several connections to a peer broke


def test_leader_does_not_go_on_without_a_peer_to_which_it_has_another_connection() -> None:
    machine = arrived(0)
    hear(machine, 1, here(1))
    hear(machine, 2, here(2))
    assert not sent(machine.interrupted(peer(3), now=2.0), Propose), "peer 3 is still awaited"
    assert machine.phase is Phase.WAITING
    assert [to for to, _ in sent(hear(machine, 3, here(3)), Propose)] == [1, 2, 3]


def test_leader_proposes_anew_with_everybody_whose_words_may_be_lost() -> None:
    machine = leading()
    again = sent(machine.interrupted(peer(2), now=2.0), Propose)
    assert [to for to, _ in again] == [1, 2, 3]
    assert all(isinstance(message, Propose) and message.ballot.attempt == 2 for _, message in again)
    assert all(isinstance(message, Propose) and len(message.members) == 4 for _, message in again)


def test_member_tells_its_leader_again_that_it_is_here() -> None:
    machine = arrived(2)
    assert [to for to, _ in sent(machine.interrupted(peer(0), now=2.0), Here)] == [0]
    assert machine.interrupted(peer(1), now=2.0) == []


def test_member_asks_for_another_ballot_where_another_members_words_may_be_lost() -> None:
    machine = exchanging(2)
    assert [to for to, _ in sent(machine.interrupted(peer(1), now=2.0), Nack)] == [0]


def test_interruption_is_nothing_where_the_peer_is_gone() -> None:
    machine = exchanging(2)
    machine.gone(peer(1), now=1.0)
    assert machine.interrupted(peer(1), now=2.0) == []
