"""A real peer to ask, which says what a test wants of its status and its run, and a UDP port that answers as wanted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import msgspec
from averaging_peers import averagers

from marfl_peer import __version__
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.ids import RunId
from marfl_peer.network.dht import wire
from marfl_peer.network.identity import Identity
from marfl_peer.peer.adoption import run_key
from marfl_peer.peer.roster import Roster
from marfl_peer.protocol import records
from marfl_peer.protocol.records import RunBody, encode_body

HOST = "127.0.0.1"


class Pinged(asyncio.DatagramProtocol):
    """Answers pings, unless it is `is_mute`; keeps who asked."""

    def __init__(self, is_mute: bool) -> None:
        self.is_mute = is_mute
        self.senders: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        incoming = wire.decode(data)
        assert isinstance(incoming, wire.IncomingCall)
        self.senders.append(incoming.call.sender)
        if not self.is_mute:
            self._transport.sendto(wire.encode_answer(incoming.message_id, wire.Pong(bytes(20))), address)


def run_record(settings: Settings) -> bytes:
    body = encode_body(RunBody(settings=settings.shared(), schema_digest="ab" * 20, founder="a" * 40))
    signed = Identity.ephemeral().sign_record(key=run_key(settings.run_id), body=body, expires_at=2_000_000_000)
    return records.encode(signed)


@contextlib.asynccontextmanager
async def asked_peer(
    *, settings: Settings | None = None, udp: str = "answers", ahead_s: float = 0.0, version: str = __version__
) -> AsyncIterator[tuple[int, Pinged | None]]:
    """Its port. `udp`: answers, mute, or closed. `ahead_s`: its clock. A peer of this kind knows no other."""
    async with averagers(1, 10) as (peer,):
        peer.switchboard.roster = Roster(
            me=peer.me,
            run_id=RunId("run"),
            group_size=4,
            links=peer.links,
            clock=Clock(),
            tell=peer.facts.append,
            on_news=lambda events: None,
        )
        status = {"peer_id": peer.me, "run_id": "default", "version": version}
        peer.switchboard._status = lambda: msgspec.json.encode(status | {"time": time.time() + ahead_s})
        peer.switchboard._run_record = lambda: run_record(settings or Settings())
        pinged, transport = None, None
        if udp != "closed":
            loop = asyncio.get_running_loop()
            transport, pinged = await loop.create_datagram_endpoint(
                lambda: Pinged(udp == "mute"), local_addr=(HOST, peer.port)
            )
        try:
            yield peer.port, pinged
        finally:
            if transport is not None:
                transport.close()
