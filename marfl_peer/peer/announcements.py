"""Announces this peer under the keys of its buckets, and looks up who else did. Placement by hash rests on it alone: a
peer that is not in the DHT finds nobody, so it enters anew where it seems to have fallen out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from marfl_peer.clock import Clock
from marfl_peer.errors import DhtError, RemoteProtocolError
from marfl_peer.ids import DhtKey, Iteration, PeerId, Round
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links
from marfl_peer.protocol.hashed import Hashing, seat_number
from marfl_peer.protocol.records import GroupBody, Record, decode_body, encode_body

LIFETIME_S = 120
"""Of an announcement; while it is needed the DHT's upkeep renews it."""

Address = tuple[str, int]


class Announcements:
    """`address()` is where this peer listens, `seeds()` are addresses to enter the DHT by. `lookups`: made so far."""

    def __init__(
        self,
        hashing: Hashing,
        *,
        identity: Identity,
        dht: DhtNode,
        links: Links,
        clock: Clock,
        address: Callable[[], Address],
        seeds: Callable[[], list[Address]],
    ) -> None:
        self.lookups = 0
        self._hashing, self._me = hashing, identity.peer_id
        self._identity, self._dht, self._links, self._clock = identity, dht, links, clock
        self._address, self._seeds = address, seeds
        self._announced: dict[Iteration, list[DhtKey]] = {}

    def is_announced(self, iteration: Iteration) -> bool:
        return iteration in self._announced

    async def enter_dht(self) -> None:
        """Greets everybody known, to be found and to find."""
        try:
            await self._dht.bootstrap(self._seeds())
        except DhtError:
            return  # it is not running: this peer stops

    async def announce(self, iteration: Iteration) -> None:
        """For all rounds of an iteration; nothing where that is done."""
        if iteration in self._announced:
            return
        if not self._dht.contacts:
            await self.enter_dht()
        rounds = [Round(round) for round in range(1, self._hashing.rounds + 1)]
        keys = [self._hashing.key(iteration, round, self._bucket(iteration, round)) for round in rounds]
        self._announced[iteration] = keys
        async with asyncio.TaskGroup() as work:
            for key in keys:
                work.create_task(self._publish(key, iteration))

    async def look_up(self, iteration: Iteration, round: Round) -> list[PeerId]:
        """The others in this peer's bucket, ascending; where to reach them is known to the links from now on."""
        bucket = self._bucket(iteration, round)
        self.lookups += 1
        try:
            records = await self._dht.lookup(self._hashing.key(iteration, round, bucket), purpose="group")
        except DhtError:
            return []
        found: list[PeerId] = []
        for record in records:
            peer, address = PeerId(record.peer_id), _address_in(record, iteration)
            if address is not None and peer != self._me and self._hashing.bucket(peer, iteration, round) == bucket:
                self._links.learn(peer, address)
                found.append(peer)
        return sorted(found)

    def forget_before(self, iteration: Iteration) -> None:
        """Announcements of iterations that are over may expire."""
        for past in [past for past in self._announced if past < iteration]:
            for key in self._announced.pop(past):
                self._dht.let_expire(key)

    def _bucket(self, iteration: Iteration, round: Round) -> int:
        return self._hashing.bucket(self._me, iteration, round)

    async def _publish(self, key: DhtKey, iteration: Iteration) -> None:
        host, port = self._address()
        body = GroupBody(host=host, port=port, cell=seat_number(self._me), iteration=iteration)
        record = self._identity.sign_record(
            key=key, body=encode_body(body), expires_at=int(self._clock.wall()) + LIFETIME_S
        )
        try:
            await self._dht.publish(record, purpose="group")
        except DhtError:
            return  # whom this peer finds hears of it from itself


def _address_in(record: Record, iteration: Iteration) -> Address | None:
    """Where its peer listens, if it is an announcement for that iteration."""
    if record.is_tombstone:
        return None
    try:
        body = decode_body(record.body)
    except RemoteProtocolError:
        return None
    if not isinstance(body, GroupBody) or body.iteration != iteration:
        return None
    return body.host, body.port
