"""A state counts when most of the group that made it signed it; one liar, or one that is behind, does not decide."""

from __future__ import annotations

import msgspec
import pytest

from marfl_peer.ids import PeerId
from marfl_peer.protocol.messages import StateOffer
from marfl_peer.protocol.votes import candidate_of, elect, statement

A, B, C, D, E = (PeerId(digit * 40) for digit in "abcde")


def offer(digest: str, group: tuple[PeerId, ...], iteration: int = 5) -> StateOffer:
    return StateOffer(
        iteration=iteration,
        vector_bytes=8,
        digest=digest,
        maxima=(1,),
        group=group,
        public_key=bytes(32),
        signature=bytes(64),
    )


def elected(offers: dict[PeerId, StateOffer], *gone: PeerId) -> tuple[str, int] | None:
    found = elect(offers, counts=lambda peer: peer not in gone)
    return None if found is None else (found[0][1], found[1])


def test_more_than_half_of_the_group_must_have_signed() -> None:
    group = (A, B, C, D)
    assert elected({A: offer("aa", group), B: offer("aa", group)}) is None
    assert elected({peer: offer("aa", group) for peer in (A, B, C)}) == ("aa", 3)


def test_members_that_are_gone_do_not_count() -> None:
    offers = {A: offer("aa", (A, B, C, D)), B: offer("aa", (A, B, C, D))}
    assert elected(offers, D) == ("aa", 2)
    assert elected({A: offers[A]}, B, C, D) == ("aa", 1), "the last one is its own majority"


def test_group_of_one_is_its_own_majority_but_the_state_with_more_signatures_counts() -> None:
    assert elected({E: offer("ee", (E,))}) == ("ee", 1)
    honest = {peer: offer("aa", (A, B, C)) for peer in (A, B)}
    assert elected({E: offer("ee", (E,)), **honest}) == ("aa", 2)
    assert elected({E: offer("ee", (E,), iteration=99), **honest}) == ("aa", 2)


def test_group_that_nobody_is_left_of_gives_way_to_one_that_voted() -> None:
    ghosts = offer("ee", (C, D))
    assert elected({E: ghosts}, C, D) == ("ee", 1)
    assert elected({E: ghosts, A: offer("aa", (A,))}, C, D) == ("aa", 1)


def test_signature_of_a_peer_outside_of_the_group_is_no_vote() -> None:
    """It took the state over from others."""
    assert elected({D: offer("aa", (A, B, C)), E: offer("aa", (A, B, C))}) is None


def test_signers_of_two_groups_sign_one_state() -> None:
    assert elected({A: offer("aa", (A, B)), C: offer("aa", (C,)), D: offer("bb", (D,))}) == ("aa", 2)


def test_later_state_counts_where_as_many_signed_it() -> None:
    assert elected({A: offer("aa", (A,), 5), B: offer("bb", (B,), 6)}) == ("bb", 1)
    assert elected({A: offer("bb", (A,)), B: offer("aa", (B,))}) == ("aa", 1)


def test_nobody_elects_nothing() -> None:
    assert elect({}, counts=lambda peer: True) is None


@pytest.mark.parametrize(
    "change", [{"iteration": 6}, {"vector_bytes": 9}, {"digest": "ab"}, {"maxima": (1, 2)}, {"group": (A, B)}]
)
def test_statement_says_all_that_is_offered(change: dict[str, object]) -> None:
    one = offer("aa", (A,))
    other = msgspec.structs.replace(one, **change)
    assert statement("run", one) != statement("run", other)
    assert statement("run", one) != statement("other", one)
    assert statement("run", one) == statement("run", msgspec.structs.replace(one, signature=bytes([1] * 64)))


def test_offers_of_one_state_are_one_candidate_whatever_group_they_name() -> None:
    assert candidate_of(offer("aa", (A,))) == candidate_of(offer("aa", (B, C)))
    assert candidate_of(offer("aa", (A,))) != candidate_of(offer("aa", (A,), iteration=6))
