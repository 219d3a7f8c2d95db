"""Tensor bytes that come in together with the end of the handshake: they must be where they belong, every one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from marfl_peer.clock import Clock
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.handshake import Doorman, Inbox, Introduction
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links
from marfl_peer.network.traffic import Traffic
from marfl_peer.protocol.frames import frame_head
from marfl_peer.protocol.messages import AnyMessage, StatePart, encode

INTRODUCTION = Introduction(
    role="peer", run_id="run", settings_digest="ab", schema_digest="cd", host="127.0.0.1", port=0
)
FRAME_BYTES, FRAMES = 200_000, 10


class Memory:
    """A listener that has one place for everything that comes."""

    def __init__(self) -> None:
        self.bytes = bytearray(FRAME_BYTES * FRAMES)
        self.offsets: list[int] = []
        self.full = asyncio.Event()

    def heard(self, peer: PeerId, message: AnyMessage, payload: memoryview) -> None:
        assert isinstance(message, StatePart)
        self.offsets.append(message.offset)
        if len(self.offsets) == FRAMES:
            self.full.set()

    def room(self, peer: PeerId, message: AnyMessage, length: int) -> memoryview:
        assert isinstance(message, StatePart)
        return memoryview(self.bytes)[message.offset : message.offset + length]

    def asked(self, connection: Connection, message: AnyMessage) -> None:
        raise AssertionError("nobody asks here")

    def up(self, peer: PeerId) -> None: ...

    def down(self, peer: PeerId) -> None: ...

    def interrupted(self, peer: PeerId) -> None: ...

    def offended(self, peer: PeerId) -> None: ...

    def lost(self, peer: PeerId, reason: str) -> None: ...

    def iteration(self) -> int:
        return 0

    def company(self) -> int:
        return 1


@asynccontextmanager
async def listening(memory: Memory) -> AsyncIterator[int]:
    identity = Identity.ephemeral()
    links = Links(
        me=identity.peer_id,
        doorman=Doorman(identity, INTRODUCTION),
        listener=memory,
        traffic=Traffic(),
        tell=lambda fact: None,
        clock=Clock(),
        nonce=lambda: os.urandom(16),
    )
    try:
        yield await links.listen("127.0.0.1", 0)
    finally:
        await links.close()


@pytest.mark.parametrize("cut", [0, 1, 4, 20, 1000, 7000, FRAME_BYTES, FRAME_BYTES + 100, 3 * FRAME_BYTES])
def test_payloads_behind_the_proof_are_placed_however_they_are_cut(cut, on_both_loops) -> None:
    payload = os.urandom(FRAME_BYTES * FRAMES)
    stream = b"".join(
        frame_head(encode(StatePart(iteration=1, offset=offset)), FRAME_BYTES) + payload[offset : offset + FRAME_BYTES]
        for offset in range(0, len(payload), FRAME_BYTES)
    )

    async def main() -> None:
        memory = Memory()
        async with listening(memory) as port:
            loop = asyncio.get_running_loop()
            connection = Connection(
                traffic=Traffic(),
                on_frame=lambda *_: None,
                place=lambda _, length: memoryview(bytearray(length)),
                on_closed=lambda *_: None,
            )
            inbox = Inbox(connection)
            await loop.create_connection(lambda: connection, "127.0.0.1", port)
            doorman = Doorman(Identity.ephemeral(), INTRODUCTION)
            await doorman.greet(
                connection, inbox, dialled=True, nonce=os.urandom(16), patience=asyncio.timeout_at(loop.time() + 30)
            )
            # No turn of the loop since the proof was written: this leaves together with it.
            assert connection._transport is not None
            connection._transport.write(stream[:cut])
            await asyncio.sleep(0)
            connection._transport.write(stream[cut:])
            async with asyncio.timeout(30):
                await memory.full.wait()
            connection.close()
        assert memory.offsets == list(range(0, len(payload), FRAME_BYTES))
        assert bytes(memory.bytes) == payload

    on_both_loops(main())
