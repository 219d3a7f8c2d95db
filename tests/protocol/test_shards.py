"""Shards: no two peers own one, everybody with the same events agrees, and a claim is kept."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.ids import PeerId
from marfl_peer.protocol.shards import assign_shards
from marfl_peer.protocol.view import FOUNDING, MembershipEvent, MembershipKind

NO_CLAIMS: Mapping[PeerId, int | None] = {}


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def event(number: int, kind: MembershipKind = "joined", iteration: int = FOUNDING, incarnation: int = 1):
    return MembershipEvent(peer_id=peer(number), incarnation=incarnation, kind=kind, iteration=iteration)


def assign(events, shards: int, claims: Mapping[PeerId, int | None] = NO_CLAIMS) -> dict[PeerId, int | None]:
    return assign_shards(events, shards=shards, claim_of=lambda joining: claims.get(joining.peer_id))


def test_founders_get_the_lowest_shards_in_order_of_their_ids() -> None:
    assert assign([event(3), event(1), event(2)], 4) == {peer(1): 0, peer(2): 1, peer(3): 2}


def test_claim_goes_before_what_is_given_out() -> None:
    assert assign([event(1), event(2)], 4, {peer(2): 0}) == {peer(1): 1, peer(2): 0}


def test_claim_of_two_goes_to_the_lower_id() -> None:
    assert assign([event(1), event(2)], 4, {peer(1): 3, peer(2): 3}) == {peer(1): 3, peer(2): 0}


@pytest.mark.parametrize("claim", [4, 1000])
def test_claim_of_a_shard_that_is_not_there_is_as_none(claim: int) -> None:
    assert assign([event(1)], 4, {peer(1): claim}) == {peer(1): 0}


def test_more_peers_than_shards_leaves_the_highest_without() -> None:
    assert assign([event(1), event(2), event(3)], 2) == {peer(1): 0, peer(2): 1, peer(3): None}


def test_leaver_gives_its_shard_to_the_next_joiner() -> None:
    events = [event(1), event(2), event(2, "left", 5), event(3, "joined", 5)]
    assert assign(events, 2) == {peer(1): 0, peer(3): 1}


def test_joiner_does_not_take_what_is_owned() -> None:
    events = [event(5), event(1, "joined", 3)]
    assert assign(events, 3, {peer(1): 0}) == {peer(5): 0, peer(1): 1}


def test_loss_of_an_earlier_life_does_not_take_the_shard_of_the_next() -> None:
    events = [event(1), event(2), event(1, "joined", 4, incarnation=2), event(1, "lost", 6, incarnation=1)]
    assert assign(events, 2) == {peer(1): 0, peer(2): 1}


def test_peer_that_comes_back_finds_its_shard_if_nobody_took_it() -> None:
    events = [event(1), event(2), event(1, "lost", 3), event(1, "joined", 5, incarnation=2)]
    assert assign(events, 2) == {peer(1): 0, peer(2): 1}


def test_peer_that_was_started_twice_in_an_iteration_takes_one_shard() -> None:
    twice = [event(2, "joined", 5, incarnation=2), event(2, "joined", 5, incarnation=3)]
    assert assign([event(1), event(2), *twice], 2) == {peer(1): 0, peer(2): 1}
    assert assign([event(1), event(2), *twice], 4, {peer(2): 3}) == {peer(1): 0, peer(2): 3}


numbers = st.integers(0, 9)
events_lists = st.lists(
    st.builds(event, numbers, st.sampled_from(["joined", "left", "lost"]), st.integers(FOUNDING, 6), st.integers(1, 3)),
    max_size=30,
)


@given(
    events=events_lists, shards=st.integers(1, 6), claims=st.dictionaries(numbers, st.integers(0, 7)), data=st.data()
)
def test_assignment_is_a_function_of_the_set_of_events(events, shards, claims, data) -> None:
    # one event for each of these, as the membership keeps them
    unique = {(item.peer_id, item.incarnation, item.kind): item for item in events}
    claim_of = {peer(number): claim for number, claim in claims.items()}
    owners = assign(unique.values(), shards, claim_of)
    shuffled = data.draw(st.permutations(list(unique.values())))
    assert assign(shuffled, shards, claim_of) == owners
    owned = [shard for shard in owners.values() if shard is not None]
    assert len(set(owned)) == len(owned)
    assert all(0 <= shard < shards for shard in owned)
    if None in owners.values() and all(item.kind == "joined" for item in unique.values()):
        assert len(owned) == shards
