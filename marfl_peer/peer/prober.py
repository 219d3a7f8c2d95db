"""Looks for peers of the run that are not in this peer's view: one probe at a time, all in their turn.

Lost peers, remembered or sighted addresses, and the members that the DHT knows. Knows whom to ask and when; what
follows when one answers is the reunion's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from marfl_peer.clock import Clock, Deadline
from marfl_peer.errors import ConfigError, DhtError, RemoteProtocolError
from marfl_peer.facts import PeersCounted, RemoteFault, Sink
from marfl_peer.ids import PeerId
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.peer.acquaintances import Acquaintances, Address
from marfl_peer.peer.inquiry import NoAnswer, ask_status
from marfl_peer.peer.reunion import Reunion
from marfl_peer.peer.roster import MEMBER_BUCKETS, Roster, bucket_key
from marfl_peer.protocol import records
from marfl_peer.protocol.probing import next_in_turn, offset_s, refresh_s
from marfl_peer.protocol.records import MemberBody, Record

TICK_S = 1.0
PROBE_S = 10.0
ANSWER_S = 2.0
GREETED = 3
"""Members whose DHT nodes are greeted at a refresh: after a partition the nodes have forgotten each other."""

Ask = Callable[[str, int, float], Awaitable[dict[str, Any]]]


class Prober:
    """`open` it when this peer is in the swarm, `close` it at the end. `ask(host, port, timeout_s)` gives a status."""

    def __init__(
        self,
        *,
        roster: Roster,
        reunion: Reunion,
        links: Links,
        dht: DhtNode,
        acquaintances: Acquaintances,
        clock: Clock,
        tell: Sink,
        member_record: Callable[[], Record],
        ask: Ask = ask_status,
    ) -> None:
        self._roster, self._reunion, self._links, self._dht = roster, reunion, links, dht
        self._acquaintances, self._clock, self._tell = acquaintances, clock, tell
        self._member_record, self._ask = member_record, ask
        self._tasks = Tasks()
        self._last_peer: PeerId | None = None
        self._last_address: Address | None = None
        self._last_greeted: Address | None = None
        self._turn_of_addresses = False
        self._bucket = 0
        self._announced = -1
        self._counted: PeersCounted | None = None
        self._remembered: list[Address] = []

    def open(self) -> None:
        self._tasks.start(self._run())

    async def close(self) -> None:
        await self._tasks.close()

    async def _run(self) -> None:
        begun = self._clock.now()
        probe_at = begun + offset_s(self._roster.me, PROBE_S)
        refresh_at = begun + offset_s(self._roster.me, self._refresh_s())
        while True:
            await asyncio.sleep(TICK_S)
            self._reunion.look()
            self._count()
            if self._clock.now() >= probe_at:
                probe_at = self._clock.now() + PROBE_S
                await self.probe()
            if self._clock.now() >= refresh_at:
                refresh_at = self._clock.now() + self._refresh_s()
                await self.refresh()

    def _refresh_s(self) -> float:
        return refresh_s(len(self._roster.seen()), MEMBER_BUCKETS)

    # one after the other

    async def probe(self) -> None:
        """Dials the next lost peer, or asks who is at the next address where nobody known is: they take turns."""
        peers = [peer for peer in self._roster.lost() if not self._links.is_connected(peer)]
        known = set(self._roster.known_addresses())
        addresses = [address for address in sorted(self._acquaintances.addresses()) if address not in known]
        self._turn_of_addresses = bool(addresses) and (not peers or not self._turn_of_addresses)
        if self._turn_of_addresses:
            self._last_address = address = next_in_turn(addresses, self._last_address)
            if address is not None:
                await self._ask_who(address)
        else:
            self._last_peer = peer = next_in_turn(peers, self._last_peer)
            if peer is not None:
                self._links.connect(peer)

    async def _ask_who(self, address: Address) -> None:
        try:
            status = await self._ask(*address, ANSWER_S)
        except (NoAnswer, RemoteProtocolError):
            return
        peer = status.get("peer_id")
        if status.get("run_id") == self._roster.run_id and status.get("started") and isinstance(peer, str):
            self._meet(PeerId(peer), address)

    async def refresh(self) -> None:
        """Reads one bucket of the members in the DHT, after greeting some nodes that may have forgotten this one."""
        try:
            await self._acquaintances.look_up(Deadline(self._clock.now() + ANSWER_S))
            await self._dht.bootstrap(self._to_greet())
            if self._announced != (record := self._member_record()).incarnation:
                self._announced = record.incarnation
                await self._dht.publish(record, purpose="member")
            found = await self._dht.lookup(bucket_key(self._roster.run_id, self._bucket), purpose="refresh")
        except DhtError:
            return
        finally:
            self._bucket = (self._bucket + 1) % MEMBER_BUCKETS
            self._remember()
        for record in found:
            try:
                body = records.decode_body(record.body)  # the DHT node has checked place and signature
            except RemoteProtocolError:
                continue
            if isinstance(body, MemberBody) and body.address is not None:
                self._meet(PeerId(record.peer_id), body.address)

    def _to_greet(self) -> list[Address]:
        greeted = []
        addresses = sorted({*self._acquaintances.addresses(), *self._roster.addresses()})
        for _ in range(min(GREETED, len(addresses))):
            self._last_greeted = next_in_turn(addresses, self._last_greeted)
            if self._last_greeted is not None:
                greeted.append(self._last_greeted)
        return greeted

    def _meet(self, peer: PeerId, address: Address) -> None:
        if peer != self._roster.me and self._roster.is_stranger(peer) and not self._links.is_connected(peer):
            self._links.learn(peer, address)
            self._links.connect(peer)

    # what it tells and keeps

    def _count(self) -> None:
        counted = PeersCounted(seen=len(self._roster.seen()), known=len(self._roster.ever_known()))
        if counted != self._counted:
            self._counted = counted
            self._tell(counted)

    def _remember(self) -> None:
        addresses = self._roster.addresses()
        if addresses != self._remembered:
            self._remembered = addresses
            try:
                self._acquaintances.remember(addresses)
            except ConfigError as error:  # a full disk is no reason to stop: what is known is in memory, too
                self._tell(RemoteFault(code=error.code, remote=self._roster.me, detail=str(error)))
