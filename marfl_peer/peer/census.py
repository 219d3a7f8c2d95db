"""Who announced itself in the DHT: read before there is a view, to find whom to found a swarm with.

Members lie in buckets in the order of their ids. Only the lowest id has to know everybody; all others stop reading at
the first bucket that holds a lower one. Who is dial-only is in it, but founds nothing: not everybody could answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from marfl_peer.errors import DhtError, RemoteProtocolError
from marfl_peer.ids import PeerId, RunId
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.links import Links
from marfl_peer.peer.roster import MEMBER_BUCKETS, bucket_key, bucket_of
from marfl_peer.protocol import records
from marfl_peer.protocol.records import MemberBody, Record

ANNOUNCEMENTS = 4
"""How often the own record is put into a network that is still coming together; then the DHT's upkeep does it."""


class Census:
    """`member_record()` is this peer's own signed record, `seeds()` are addresses to start from; `listens`: whether
    others can dial this peer."""

    def __init__(
        self,
        *,
        me: PeerId,
        run_id: RunId,
        dht: DhtNode,
        links: Links,
        seeds: Callable[[], list[tuple[str, int]]],
        member_record: Callable[[], Record],
        listens: bool = True,
    ) -> None:
        self.me, self._run_id = me, run_id
        self._dht, self._links, self._seeds, self._member_record = dht, links, seeds, member_record
        self._announced_count = 0
        self._unreachable: set[PeerId] = set()
        self._dial_only: set[PeerId] = set() if listens else {me}

    def founder(self, members: list[PeerId]) -> PeerId | None:
        """Who of this peer and `members` is to found: the lowest that all can reach; None where nobody can be."""
        return min([peer for peer in (self.me, *members) if peer not in self._dial_only], default=None)

    async def members(self) -> list[PeerId]:
        """The others that announced themselves, ascending: all, or only some where a lower id is among them."""
        await self._announce()
        found: set[PeerId] = set()
        own_bucket = bucket_of(self.me)
        for bucket in range(own_bucket + 1):
            found |= await self._read(bucket)
            if self.founder(sorted(found)) not in (None, self.me):
                return sorted(found)
        rest = await asyncio.gather(*(self._read(bucket) for bucket in range(own_bucket + 1, MEMBER_BUCKETS)))
        return sorted(found.union(*rest))

    def gone(self, peer: PeerId) -> None:
        """A record may outlive its peer: one that cannot be reached does not count."""
        self._unreachable.add(peer)

    def seen(self, peer: PeerId) -> None:
        self._unreachable.discard(peer)

    async def _announce(self) -> None:
        await self._dht.bootstrap(self._seeds())
        if self._announced_count < ANNOUNCEMENTS:
            with contextlib.suppress(DhtError):
                await self._dht.publish(self._member_record(), purpose="member")
                self._announced_count += 1

    async def _read(self, bucket: int) -> set[PeerId]:
        found = set()
        for record in await self._dht.lookup(bucket_key(self._run_id, bucket), purpose="members"):
            peer = PeerId(record.peer_id)
            try:
                body = records.decode_body(record.body)  # the DHT node has checked place and signature
            except RemoteProtocolError:
                continue
            if not isinstance(body, MemberBody):
                continue
            (self._dial_only.discard if body.address else self._dial_only.add)(peer)
            if peer != self.me and peer not in self._unreachable:
                found.add(peer)
                self._links.learn(peer, body.address)
        return found
