"""A member of one line, without a leader: what it promises, declines and fetches."""

from __future__ import annotations

import pytest
from msgspec import structs
from one_line import LINE, NAME, ballot, here, peer, propose, seat, sent

from marfl_peer.facts import GroupAgreed, ResultSuperseded
from marfl_peer.protocol.attendance import Attendance
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.bases import Base
from marfl_peer.protocol.instructions import AbortExchange, FetchResult, OpenExchange, Tell
from marfl_peer.protocol.lateness import Lateness
from marfl_peer.protocol.messages import CannotPlay, Have, Nack, Propose, Ready, Take
from marfl_peer.protocol.phases import Event, Phase
from marfl_peer.protocol.speeds import Speeds

ME = peer(2)


def take(attempt: int, *sources: int) -> Take:
    return Take(name=NAME, completed=ballot(attempt), sources=tuple(peer(source) for source in sources))


def present(box: BallotBox | None = None) -> Attendance:
    part = Attendance(
        ME, LINE, ballots=box or BallotBox(), late=Lateness(LINE, BallotBox()), base=Base(), speeds=Speeds()
    )
    assert part.arrive(seat(2), update_s=0.1, now=5.0)
    return part


def test_first_seat_is_the_arrival_and_more_of_them_are_not() -> None:
    part = Attendance(ME, LINE, ballots=BallotBox(), late=Lateness(LINE, BallotBox()), base=Base(), speeds=Speeds())
    assert part.phase is Phase.ABSENT
    assert not part.may_give_up()
    assert part.arrive(seat(2), update_s=0.1, now=5.0)
    assert not part.arrive(seat(0), update_s=0.1, now=6.0)
    assert (part.phase, part.arrived_at, part.cells) == (Phase.WAITING, 5.0, [0, 2])
    assert part.may_give_up()
    assert [one.cell for one in part.here().seats] == [0, 2]


def test_here_says_what_was_promised() -> None:
    part = present()
    assert part.here().promised is None
    part.proposed(peer(0), propose(3, 0, 2))
    said = part.here()
    assert (said.promised, said.view_digest, said.update_s) == (ballot(3), here(2).view_digest, 0.1)


def test_accepted_ballot_is_told_opened_and_announced() -> None:
    part = present()
    told, opened, *ready = part.proposed(peer(0), propose(1, 0, 1, 2))
    assert isinstance(told, Tell)
    assert isinstance(told.fact, GroupAgreed)
    assert told.fact.members == (peer(0), peer(1), peer(2))
    assert isinstance(opened, OpenExchange)
    assert opened.ballot == ballot(1)
    assert [to for to, _ in sent(ready, Ready)] == [0, 1]
    assert part.members == opened.members
    assert part.exchanges_with(peer(1))
    assert not part.exchanges_with(peer(3))


def test_lower_ballot_gets_a_nack_and_the_same_again_no_answer() -> None:
    part = present()
    part.proposed(peer(0), propose(5, 0, 2))
    assert sent(part.proposed(peer(1), propose(4, 1, 2, leader=1)), Nack) == [
        (1, Nack(name=NAME, ballot=ballot(4, 1), promised=ballot(5)))
    ]
    assert part.proposed(peer(0), propose(5, 0, 2)) == []


@pytest.mark.parametrize(
    ("sender", "message"),
    [
        (1, propose(1, 0, 2)),
        (0, propose(1, 0, 2, view="other")),
        (9, propose(1, 2, leader=9)),
        (0, propose(1, 2, 0)),
        (0, propose(1, 0, 2, 17)),
    ],
)
def test_unlawful_proposal_gets_no_answer(sender: int, message: Propose) -> None:
    assert present().proposed(peer(sender), message) == []


def test_seat_that_is_not_held_is_declined_one_by_one() -> None:
    absent = Attendance(ME, LINE, ballots=BallotBox(), late=Lateness(LINE, BallotBox()), base=Base(), speeds=Speeds())
    declined = [(0, CannotPlay(name=NAME, cell=2))]
    assert sent(absent.proposed(peer(0), propose(1, 0, 2)), CannotPlay) == declined
    lighter = Attendance(ME, LINE, ballots=BallotBox(), late=Lateness(LINE, BallotBox()), base=Base(), speeds=Speeds())
    lighter.arrive(seat(2, weight=1), update_s=0.1, now=0.0)
    assert sent(lighter.proposed(peer(0), propose(1, 0, 2)), CannotPlay) == declined


def test_who_completed_a_ballot_has_it() -> None:
    box = BallotBox()
    part = present(box)
    part.proposed(peer(0), propose(1, 0, 2))
    box.complete(ballot(1), ME)
    assert part.end(Event.EXCHANGED) == []
    assert sent(part.proposed(peer(0), propose(2, 0, 2)), Have) == [(0, Have(name=NAME, completed=ballot(1)))]
    assert box.next(peer(0)) == ballot(3)


def test_who_gave_up_declines_and_takes_nothing() -> None:
    part = present()
    part.proposed(peer(0), propose(1, 0, 2))
    assert part.end(Event.GAVE_UP) == [AbortExchange(name=NAME, ballot=ballot(1))]
    assert sent(part.proposed(peer(0), propose(2, 0, 2)), CannotPlay) != []
    assert part.told_to_take(take(2, 0)) == []
    assert not part.may_give_up()


def test_result_is_fetched_from_others_only() -> None:
    part = present()
    assert part.told_to_take(take(1, 2)) == []
    assert part.told_to_take(take(1, 2, 3)) == [FetchResult(name=NAME, ballot=ballot(1), sources=(peer(3),))]
    assert part.phase is Phase.FETCHING
    assert part.awaits(ballot(1))
    assert part.told_to_take(take(2, 3)) == []


def test_fetch_can_fail_once() -> None:
    part = present()
    assert not part.fetch_failed()
    part.told_to_take(take(1, 3))
    assert part.fetch_failed()
    assert part.phase is Phase.WAITING
    assert not part.fetch_failed()


def test_fetch_is_forgotten_for_a_higher_ballot() -> None:
    part = present()
    part.told_to_take(take(1, 3))
    part.proposed(peer(0), propose(2, 0, 2))
    assert part.phase is Phase.EXCHANGING
    assert part.awaits(ballot(2))
    assert not part.awaits(ballot(1))
    assert not part.fetch_failed()


def test_known_result_is_taken_where_it_waits_or_is_behind_and_only_from_the_living() -> None:
    box = BallotBox()
    part = present(box)
    assert part.take_what_is_known(set()) == []
    part.proposed(peer(0), propose(2, 0, 2))
    box.holds(ballot(1), peer(1))
    assert part.take_what_is_known(set()) == []
    box.holds(ballot(3), peer(3))
    assert part.take_what_is_known({peer(3)}) == []
    assert [type(step) for step in part.take_what_is_known(set())] == [AbortExchange, FetchResult]
    assert part.take_what_is_known(set()) == []


def test_other_result_than_ones_own_is_superseded() -> None:
    box = BallotBox()
    part = present(box)
    part.proposed(peer(0), propose(1, 0, 2))
    box.complete(ballot(1), ME)
    part.end(Event.EXCHANGED)
    assert part.told_to_take(take(1, 3)) == []
    [told] = part.told_to_take(take(2, 3))
    assert isinstance(told, Tell)
    assert told.fact == ResultSuperseded(iteration=1, round=2, line=0)


def with_base(base: Base) -> Attendance:
    part = Attendance(ME, LINE, ballots=BallotBox(), late=Lateness(LINE, BallotBox()), base=base, speeds=Speeds())
    part.arrive(seat(2), update_s=0.1, now=5.0)
    return part


@pytest.mark.parametrize(("against", "is_coded"), [("ab", True), ("", False), ("cd", None)])
def test_proposal_against_a_base_is_for_those_who_hold_it(against: str, is_coded: bool | None) -> None:
    steps = with_base(Base(digest="ab")).proposed(peer(0), structs.replace(propose(1, 0, 2), base=against))
    opened = [step.is_coded for step in steps if isinstance(step, OpenExchange)]
    assert opened == ([] if is_coded is None else [is_coded])


def test_here_names_the_base_and_when_all_send_full_values_which_proposals_tell() -> None:
    base = Base(digest="ab")
    part = with_base(base)
    assert (part.here().base, part.here().full_in) == ("ab", ())
    part.proposed(peer(0), structs.replace(propose(1, 0, 2), full_in=(3,)))
    assert part.here().full_in == (3,)
    assert 3 in base.full


def test_here_tells_ones_own_speed_and_the_slowest_of_the_iteration() -> None:
    speeds = Speeds()
    part = Attendance(ME, LINE, ballots=BallotBox(), late=Lateness(LINE, BallotBox()), base=Base(), speeds=speeds)
    part.arrive(seat(2), update_s=0.1, now=5.0)
    assert (part.here().speed, part.here().slowest) == (0, 0)
    speeds.begin(NAME.iteration, 90)
    speeds.hear(structs.replace(here(3), speed=80))
    assert (part.here().speed, part.here().slowest) == (90, 80)


def test_proposed_shares_are_those_of_the_exchange() -> None:
    steps = present().proposed(peer(0), structs.replace(propose(1, 0, 1, 2), shares=(600, 400, 0)))
    assert [step.shares for step in steps if isinstance(step, OpenExchange)] == [(600, 400, 0)]
