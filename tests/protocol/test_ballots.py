from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.ids import PeerId
from marfl_peer.protocol.ballots import MAX_ATTEMPT, BallotBox
from marfl_peer.protocol.messages import Ballot

A, B, C = (PeerId(digit * 40) for digit in "abc")


def ballot(attempt: int, leader: PeerId = A) -> Ballot:
    return Ballot(attempt=attempt, leader=leader)


ballots = st.builds(ballot, st.integers(0, 20), st.sampled_from([A, B, C]))


@given(st.lists(ballots))
def test_accepted_ballots_only_rise(heard: list[Ballot]) -> None:
    box = BallotBox()
    accepted = [one for one in heard if box.accept(one)]
    assert accepted == sorted(set(accepted))
    assert box.promised == max(heard, default=None)


@given(st.lists(ballots))
def test_next_ballot_is_above_all_that_were_seen(heard: list[Ballot]) -> None:
    box = BallotBox()
    for one in heard:
        box.saw(one)
    assert all(box.next(A) > one for one in heard)


def test_nothing_is_accepted_once_a_result_is_held() -> None:
    box = BallotBox()
    assert box.accept(ballot(1))
    box.complete(ballot(1), A)
    assert not box.accept(ballot(2))
    assert box.promised == ballot(1)
    assert box.highest_attempt == 2


def test_absurd_attempt_is_not_accepted_and_does_not_use_up_the_numbers() -> None:
    box = BallotBox()
    for attempt in (MAX_ATTEMPT + 1, 2**31):
        assert not box.accept(ballot(attempt))
        box.saw(ballot(attempt))
        box.holds(ballot(attempt), B)
    assert box.next(A) == ballot(1)


def test_peer_holds_one_result_only() -> None:
    box = BallotBox()
    for attempt in range(50):
        box.holds(ballot(attempt), B)
    box.holds(ballot(3), C)
    assert box.all_holders() == {B, C}
    assert box.best(set()) == (ballot(49), (B,))
    assert box.best({B}) == (ballot(3), (C,))
    assert box.best({B, C}) is None


def test_seeing_nothing_changes_nothing() -> None:
    box = BallotBox()
    box.saw(None)
    assert box.best(set()) is None
    assert box.next(B) == ballot(1, B)
