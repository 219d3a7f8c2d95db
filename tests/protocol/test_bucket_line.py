"""One peer's side of a group that nobody lists, message by message. Whole groups: see test_hashed_iteration."""

from __future__ import annotations

from hashed_network import hashed_peer

from marfl_peer.config import MAX_GROUP_SIZE
from marfl_peer.ids import PeerId
from marfl_peer.protocol.bucket_line import BucketLine
from marfl_peer.protocol.hashed import seat_number
from marfl_peer.protocol.instructions import FetchResult, FinishLine, Instruction, OpenExchange, Send
from marfl_peer.protocol.messages import Ballot, CannotPlay, Done, Here, LineName, Member, Propose, Seat
from marfl_peer.protocol.phases import Phase

NAME = LineName(iteration=1, round=1, line=0)
DIGEST = "ab"
LOWEST, LOW, ME, HIGH, HIGHEST = PEERS = sorted(hashed_peer(number) for number in range(5))


def seat(peer: PeerId) -> Seat:
    return Seat(cell=seat_number(peer), weight=4, sums=(), maxima=())


def member(peer: PeerId) -> Member:
    return Member(peer_id=peer, seats=(seat(peer),), update_s=0.0)


def here(peer: PeerId) -> Here:
    return Here(name=NAME, view_digest=DIGEST, seats=(seat(peer),), update_s=0.0, promised=None)


def proposal(leader: PeerId, attempt: int, *peers: PeerId) -> Propose:
    ballot = Ballot(attempt=attempt, leader=leader)
    return Propose(name=NAME, ballot=ballot, view_digest=DIGEST, members=tuple(member(peer) for peer in sorted(peers)))


def line(*found: PeerId, enters: bool = True) -> BucketLine:
    one = BucketLine(ME, NAME, view_digest=DIGEST, belongs=lambda peer: True)
    if enters:
        one.enter(seat(ME), found, update_s=0.0, now=0.0)
    return one


def sent(steps: list[Instruction], kind: type) -> list[PeerId]:
    return [step.to for step in steps if isinstance(step, Send) and isinstance(step.message, kind)]


def opened(steps: list[Instruction]) -> list[str]:
    (step,) = [step for step in steps if isinstance(step, OpenExchange)]
    return [one.peer_id for one in step.members]


def test_everybody_that_was_found_is_told() -> None:
    one = line(enters=False)
    steps = one.enter(seat(ME), [HIGH, LOW, LOWEST], update_s=0.0, now=0.0)
    assert sorted(sent(steps, Here)) == [LOWEST, LOW, HIGH]
    assert one.peers == [LOWEST, LOW, ME, HIGH]


def test_peer_that_was_not_found_counts_once_it_speaks() -> None:
    one = line(HIGH)
    steps = one.heard(HIGHEST, here(HIGHEST), now=0.0)
    assert steps == [], "HIGH is awaited"
    assert opened(one.heard(HIGH, here(HIGH), now=0.0)) == [ME, HIGH, HIGHEST]


def test_lower_peer_that_was_not_found_leads_once_it_speaks() -> None:
    one = line(HIGH)
    steps = one.heard(LOW, here(LOW), now=0.0)
    assert sent(steps, Here) == [LOW]
    assert opened(one.heard(LOW, proposal(LOW, 1, LOW, ME, HIGHEST), now=0.0)) == [LOW, ME, HIGHEST]
    assert HIGHEST in one.peers


def test_peer_that_completed_without_this_one_is_not_awaited() -> None:
    one = line(LOW, HIGH)
    one.heard(HIGH, here(HIGH), now=0.0)
    steps = one.heard(LOW, Done(name=NAME, completed=Ballot(attempt=1, leader=LOW)), now=0.0)
    assert opened(steps) == [ME, HIGH]
    assert one.heard(LOW, here(LOW), now=0.0) == [], "nor heard"


def test_peer_that_comes_when_the_group_is_through_is_told_so() -> None:
    one = line()
    ballot = Ballot(attempt=1, leader=ME)
    steps = one.exchanged(ballot, now=0.0)
    assert [step.outcome for step in steps if isinstance(step, FinishLine)] == ["complete"]
    steps = one.heard(LOW, here(LOW), now=0.0)
    assert sent(steps, Done) == [LOW]


def test_ballot_of_a_rival_leader_that_lacks_a_member_is_refused() -> None:
    one = line(LOW, HIGH)
    one.heard(LOW, proposal(LOW, 1, LOW, ME, HIGH), now=0.0)
    steps = one.heard(LOWEST, proposal(LOWEST, 2, LOWEST, LOW, ME), now=0.0)
    assert sent(steps, CannotPlay) == [LOWEST], "HIGH and LOW may complete theirs"
    assert one.matchmaking.ballots.promised == Ballot(attempt=1, leader=LOW)


def test_ballot_of_a_rival_leader_with_all_members_is_accepted() -> None:
    one = line(LOW, HIGH)
    one.heard(LOW, proposal(LOW, 1, LOW, ME, HIGH), now=0.0)
    steps = one.heard(LOWEST, proposal(LOWEST, 2, LOWEST, LOW, ME, HIGH), now=0.0)
    assert opened(steps) == [LOWEST, LOW, ME, HIGH]


def test_lost_member_need_not_be_in_a_rival_ballot() -> None:
    one = line(LOW, HIGH)
    one.heard(LOW, proposal(LOW, 1, LOW, ME, HIGH), now=0.0)
    one.gone(HIGH, now=0.0)
    steps = one.heard(LOWEST, proposal(LOWEST, 2, LOWEST, LOW, ME), now=0.0)
    assert opened(steps) == [LOWEST, LOW, ME]
    one.back(HIGH, now=0.0)
    steps = one.heard(LOWEST, proposal(LOWEST, 3, LOWEST, ME), now=0.0)
    assert sent(steps, CannotPlay) == [LOWEST], "its leader vouches for its own ballots, not for that of LOW"


def test_leader_may_propose_again_without_somebody() -> None:
    one = line(LOW, HIGH)
    one.heard(LOW, proposal(LOW, 1, LOW, ME, HIGH), now=0.0)
    assert opened(one.heard(LOW, proposal(LOW, 2, LOW, ME), now=0.0)) == [LOW, ME]


def test_ballot_that_was_left_and_completed_nevertheless_is_taken() -> None:
    one = line(LOW, HIGH)
    one.heard(LOW, proposal(LOW, 1, LOW, ME, HIGH), now=0.0)
    one.heard(LOWEST, proposal(LOWEST, 2, LOWEST, LOW, ME, HIGH), now=0.0)
    steps = one.heard(HIGH, Done(name=NAME, completed=Ballot(attempt=1, leader=LOW)), now=0.0)
    assert [(step.ballot.leader, step.sources) for step in steps if isinstance(step, FetchResult)] == [(LOW, (HIGH,))]
    assert one.matchmaking.phase is Phase.FETCHING
    assert sent(one.heard(LOWEST, proposal(LOWEST, 3, LOWEST, ME), now=0.0), CannotPlay) == [LOWEST]


def test_leader_that_comes_after_its_group_goes_alone() -> None:
    one = line(enters=False)
    one.heard(HIGH, here(HIGH), now=0.0)
    ballot = Ballot(attempt=1, leader=ME)
    one.heard(HIGH, Done(name=NAME, completed=ballot), now=0.0)
    steps = one.enter(seat(ME), [HIGH], update_s=0.0, now=0.0)
    assert not [step for step in steps if isinstance(step, FetchResult)]
    assert opened(steps) == [ME]


def test_group_has_an_end() -> None:
    many = [hashed_peer(number) for number in range(5, MAX_GROUP_SIZE + 30)]
    one = line(*many)
    assert len(one.peers) == MAX_GROUP_SIZE
    assert ME in one.peers
    left_out = next(peer for peer in many if peer not in one.peers)
    assert one.heard(left_out, here(left_out), now=0.0) == []
