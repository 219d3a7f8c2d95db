"""Taking a line's result from a member that holds it, and giving it: how a late peer gets what it missed.

Sources are asked one after the other; a result counts only if the owners' seals cover every byte of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.codecs.float32 import BYTES_A_VALUE, as_bytes
from marfl_peer.averaging.finite import is_finite
from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import RemoteFault, Sink
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.peer.seals import Sealer
from marfl_peer.protocol.messages import Ballot, Fetch, LineName, ResultOffer, ResultPart
from marfl_peer.protocol.parts import PART_BYTES

SOURCE_TIMEOUT_S = 10.0
"""How long one source may take before the next is asked."""
RETRY_S = 0.2


@dataclass(slots=True)
class Fetched:
    """A result on its way: what was offered, its memory, how far it came."""

    source: PeerId
    name: LineName
    ballot: Ballot
    vector: Tensor
    offer: ResultOffer | None = None
    received: set[int] = field(default_factory=set)
    received_bytes: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def whole(self) -> bool:
        if self.offer is None:
            return False
        return self.offer.weight == 0 or self.received_bytes == len(as_bytes(self.vector))


class Fetching:
    """`on_liar(name, ballot, source)`: what that source gave is not what its owners signed, or no numbers."""

    def __init__(
        self,
        *,
        links: Links,
        sealer: Sealer,
        pool: BufferPool,
        clock: Clock,
        tell: Sink,
        on_liar: Callable[[LineName, Ballot, PeerId], None],
    ) -> None:
        self._links, self._sealer, self._pool, self._clock, self._tell = links, sealer, pool, clock, tell
        self._on_liar = on_liar
        self._running: dict[LineName, Fetched] = {}
        self._tasks = Tasks()

    def close(self) -> None:
        self._tasks.cancel()

    # taking

    def fetch(
        self, name: LineName, ballot: Ballot, sources: tuple[PeerId, ...], on_end: Callable[[Fetched | None], None]
    ) -> None:
        """Calls `on_end` with the result, or with None when no source gave it."""
        self._tasks.start(self._fetch(name, ballot, sources, on_end))

    async def _fetch(
        self, name: LineName, ballot: Ballot, sources: tuple[PeerId, ...], on_end: Callable[[Fetched | None], None]
    ) -> None:
        for source in sources:
            fetched = Fetched(source, name, ballot, self._pool.take())
            self._running[name] = fetched
            self._links.send(source, Fetch(name=name, ballot=ballot))
            try:
                async with asyncio.timeout_at(self._clock.now() + SOURCE_TIMEOUT_S):
                    await fetched.over.wait()
            except TimeoutError:
                continue
            finally:
                if self._running.get(name) is fetched:
                    del self._running[name]
            if fetched.whole() and self._is_sealed(fetched):
                on_end(fetched)
                return
        await asyncio.sleep(RETRY_S)
        on_end(None)

    def _is_sealed(self, fetched: Fetched) -> bool:
        offer = fetched.offer
        assert offer is not None
        if offer.weight == 0:
            return True
        try:
            self._sealer.check(
                offer.chunks,
                name=fetched.name,
                ballot=fetched.ballot,
                members=[PeerId(member) for member in offer.members],
                length=fetched.vector.numel(),
                vector=as_bytes(fetched.vector),
                value_bytes=BYTES_A_VALUE,
            )
            if not is_finite(fetched.vector):
                raise RemoteProtocolError("not_finite", "a result that is not finite")
        except RemoteProtocolError as error:
            self._tell(RemoteFault(code=error.code, remote=fetched.source, detail=str(error)))
            self._on_liar(fetched.name, fetched.ballot, fetched.source)
            return False
        return True

    def gone(self, peer: PeerId) -> None:
        """A source is lost: the next one is asked at once."""
        for fetched in self._running.values():
            if fetched.source == peer:
                fetched.over.set()

    def offered(self, sender: PeerId, offer: ResultOffer) -> None:
        fetched = self._awaited(sender, offer.name, offer.ballot)
        if fetched is not None:
            fetched.offer = offer
            self._end_if_whole(fetched)

    def refused(self, sender: PeerId, name: LineName, ballot: Ballot) -> None:
        fetched = self._awaited(sender, name, ballot)
        if fetched is not None:
            fetched.over.set()

    def room(self, sender: PeerId, part: ResultPart, length: int) -> memoryview | None:
        """Where the payload belongs; None where nobody waits for it. Raises: RemoteProtocolError."""
        fetched = self._awaited(sender, part.name, part.ballot)
        if fetched is None:
            return None
        memory = as_bytes(fetched.vector)
        if part.offset % PART_BYTES or length != min(PART_BYTES, len(memory) - part.offset):
            raise RemoteProtocolError("bad_span", f"{length} bytes at {part.offset} of a result of {len(memory)}")
        return memory[part.offset : part.offset + length]

    def part_arrived(self, sender: PeerId, part: ResultPart, length: int) -> None:
        fetched = self._awaited(sender, part.name, part.ballot)
        if fetched is not None and part.offset not in fetched.received:
            fetched.received.add(part.offset)
            fetched.received_bytes += length
            self._end_if_whole(fetched)

    def _awaited(self, sender: PeerId, name: LineName, ballot: Ballot) -> Fetched | None:
        fetched = self._running.get(name)
        return fetched if fetched is not None and (fetched.source, fetched.ballot) == (sender, ballot) else None

    @staticmethod
    def _end_if_whole(fetched: Fetched) -> None:
        if fetched.whole():
            fetched.over.set()

    # giving

    def serve(self, peer: PeerId, offer: ResultOffer, vector: Tensor) -> None:
        """Sends a result. The vector must not change until this object is closed."""
        self._tasks.start(self._serve(peer, offer, vector))

    async def _serve(self, peer: PeerId, offer: ResultOffer, vector: Tensor) -> None:
        async def frames(connection: Connection) -> None:
            connection.send(offer)
            memory = as_bytes(vector) if offer.weight else memoryview(b"")
            for offset in range(0, len(memory), PART_BYTES):
                if not await connection.drained():
                    return
                part = ResultPart(name=offer.name, ballot=offer.ballot, offset=offset)
                connection.send(part, memory[offset : offset + PART_BYTES])

        await self._links.stream(peer, frames)
