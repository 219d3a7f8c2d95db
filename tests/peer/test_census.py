from __future__ import annotations

import asyncio
from typing import cast

from marfl_peer.errors import DhtError
from marfl_peer.ids import DhtKey, PeerId, RunId
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links
from marfl_peer.peer.census import ANNOUNCEMENTS, Census
from marfl_peer.peer.roster import MEMBER_BUCKETS, bucket_key, bucket_of, member_key
from marfl_peer.protocol.records import MemberBody, Record, encode_body

RUN = RunId("census")


def member(identity: Identity, port: int = 7700) -> Record:
    body = MemberBody(host="127.0.0.1", port=port, weight=0, shard=None, shards=4, version=1)
    key = member_key(RUN, identity.peer_id)
    return identity.sign_record(key=key, body=encode_body(body), expires_at=2_000_000_000)


class Dht:
    """A DHT that holds what it was given and counts what it is asked."""

    def __init__(self, records: list[Record], *, refuses: bool = False) -> None:
        self.records, self.refuses = records, refuses
        self.asked: list[bytes] = []
        self.published = 0

    async def bootstrap(self, addresses: list[tuple[str, int]]) -> int:
        return len(addresses)

    async def publish(self, record: Record, *, purpose: str) -> int:
        if self.refuses:
            raise DhtError("stored nowhere")
        self.published += 1
        return 1

    async def lookup(self, key: DhtKey, *, purpose: str) -> list[Record]:
        self.asked.append(key)
        return [record for record in self.records if record.key == key]


class Addresses:
    def __init__(self) -> None:
        self.known: dict[PeerId, tuple[str, int]] = {}

    def learn(self, peer: PeerId, address: tuple[str, int]) -> None:
        self.known[peer] = address


def census_of(me: Identity, dht: Dht, links: Addresses) -> Census:
    return Census(
        me=me.peer_id,
        run_id=RUN,
        dht=cast(DhtNode, dht),
        links=cast(Links, links),
        seeds=lambda: [("127.0.0.1", 1)],
        member_record=lambda: member(me),
    )


def identities(count: int) -> list[Identity]:
    return sorted((Identity.ephemeral() for _ in range(count)), key=lambda identity: identity.peer_id)


def test_buckets_follow_the_order_of_ids() -> None:
    ids = [identity.peer_id for identity in identities(40)]
    buckets = [bucket_of(peer) for peer in ids]
    assert buckets == sorted(buckets)
    assert bucket_of(PeerId("00" * 20)) == 0
    assert bucket_of(PeerId("ff" * 20)) == MEMBER_BUCKETS - 1


def test_census_of_the_lowest_finds_everybody_and_learns_their_addresses() -> None:
    peers = identities(12)
    dht, links = Dht([member(peer) for peer in peers]), Addresses()
    found = asyncio.run(census_of(peers[0], dht, links).members())
    assert found == [peer.peer_id for peer in peers[1:]]
    assert set(links.known) == set(found)
    assert set(dht.asked) == {bucket_key(RUN, bucket) for bucket in range(MEMBER_BUCKETS)}


def test_census_of_another_stops_at_the_first_lower_id() -> None:
    peers = identities(40)
    dht = Dht([member(peer) for peer in peers])
    found = asyncio.run(census_of(peers[-1], dht, Addresses()).members())
    assert found[0] == peers[0].peer_id
    assert dht.asked == [bucket_key(RUN, bucket) for bucket in range(bucket_of(peers[0].peer_id) + 1)]


def test_census_leaves_out_a_peer_that_cannot_be_reached_until_it_is_seen() -> None:
    peers = identities(3)
    census = census_of(peers[1], Dht([member(peer) for peer in peers]), Addresses())
    census.gone(peers[0].peer_id)
    assert asyncio.run(census.members()) == [peers[2].peer_id]
    census.seen(peers[0].peer_id)
    assert peers[0].peer_id in asyncio.run(census.members())


def test_census_announces_a_few_times_and_survives_a_dht_that_stores_nothing() -> None:
    me = Identity.ephemeral()
    dht = Dht([])

    async def repeat(census: Census) -> None:
        for _ in range(ANNOUNCEMENTS + 3):
            assert await census.members() == []

    asyncio.run(repeat(census_of(me, dht, Addresses())))
    assert dht.published == ANNOUNCEMENTS
    asyncio.run(repeat(census_of(me, Dht([], refuses=True), Addresses())))


def test_founder_is_the_lowest_that_listens() -> None:
    people = identities(3)
    low, me, high = people
    for low_port, me_listens, expected in ((7700, True, low), (0, True, me), (0, False, high)):
        records = [member(low, port=low_port), member(high)]
        census = Census(
            me=me.peer_id,
            run_id=RUN,
            dht=cast(DhtNode, Dht(records)),
            links=cast(Links, Addresses()),
            seeds=list,
            member_record=lambda: member(me),
            listens=me_listens,
        )
        members = asyncio.run(census.members())
        assert census.founder(members) == expected.peer_id
    assert census.founder([low.peer_id]) is None
