"""The agreed state after an iteration: kept for those who are behind, and downloaded when this peer is."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from marfl_peer.averaging.codecs.float32 import as_bytes
from marfl_peer.averaging.finite import is_finite
from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import RemoteFault, Sink, StateFetched, WaitEnded
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.protocol.frames import MAX_PAYLOAD_BYTES
from marfl_peer.protocol.messages import StateOffer, StatePart, StateRequest

MAX_WAITING = 256
"""Peers that wait for a state that this peer does not have yet."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The vector [n] (schema order) and the integer buffers after an iteration; nobody changes it."""

    iteration: int
    vector: Tensor
    maxima: tuple[int, ...]


def digest_of(vector: Tensor) -> str:
    """SHA-256 of the values' bytes, in hex."""
    return hashlib.sha256(as_bytes(vector)).hexdigest()


@dataclass(slots=True)
class _Download:
    source: PeerId
    vector: Tensor
    offer: StateOffer | None = None
    offsets: set[int] = field(default_factory=set)
    received_bytes: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def whole(self) -> bool:
        return self.offer is not None and self.received_bytes == self.offer.vector_bytes


class States:
    def __init__(
        self,
        *,
        links: Links,
        clock: Clock,
        tell: Sink,
        length: int,
        in_thread: Callable[[Callable[[], str]], Awaitable[str]],
    ) -> None:
        self.agreed: State | None = None
        self._links, self._clock, self._tell = links, clock, tell
        self._length = length
        self._in_thread = in_thread
        self._waiting: dict[PeerId, int] = {}
        self._download: _Download | None = None
        self._tasks = Tasks()

    async def close(self) -> None:
        await self._tasks.close()

    def agree(self, state: State) -> None:
        """This is the state now; whoever waited for it gets it."""
        self.agreed = state
        for peer, at_least in sorted(self._waiting.items()):
            if state.iteration >= at_least:
                del self._waiting[peer]
                self._tasks.start(self._serve(peer, state))

    # giving

    def asked(self, peer: PeerId, request: StateRequest) -> None:
        if self.agreed is not None and self.agreed.iteration >= request.at_least:
            self._tasks.start(self._serve(peer, self.agreed))
        elif len(self._waiting) < MAX_WAITING:
            self._waiting[peer] = request.at_least

    async def _serve(self, peer: PeerId, state: State) -> None:
        digest = await self._in_thread(lambda: digest_of(state.vector))
        memory = as_bytes(state.vector)

        async def frames(connection: Connection) -> None:
            offer = StateOffer(iteration=state.iteration, vector_bytes=len(memory), digest=digest, maxima=state.maxima)
            connection.send(offer)
            for offset in range(0, len(memory), MAX_PAYLOAD_BYTES):
                if not await connection.drained():
                    return
                part = StatePart(iteration=state.iteration, offset=offset)
                connection.send(part, memory[offset : offset + MAX_PAYLOAD_BYTES])

        await self._links.stream(peer, frames)

    # taking

    async def fetch(self, source: PeerId, *, at_least: int, deadline: float) -> State | None:
        """The state of iteration `at_least` or later from `source`; None where it does not come whole by then."""
        download = _Download(source, torch.empty(self._length, dtype=torch.float32))
        self._download = download
        started = self._clock.now()
        self._links.send(source, StateRequest(at_least=at_least))
        try:
            async with asyncio.timeout_at(deadline):
                await download.over.wait()
        except TimeoutError:
            pass
        finally:
            self._download = None
        seconds = self._clock.now() - started
        state = await self._checked(download)
        self._tell(
            WaitEnded(
                iteration=at_least,
                round=0,
                waited_for="state",
                seconds=seconds,
                allowed_s=deadline - started,
                outcome="arrived" if state is not None else "lost" if download.over.is_set() else "deadline",
            )
        )
        if state is not None:
            self._tell(
                StateFetched(
                    iteration=state.iteration,
                    source=source,
                    bytes_received=download.received_bytes,
                    seconds=seconds,
                )
            )
        return state

    async def _checked(self, download: _Download) -> State | None:
        offer = download.offer
        if offer is None or not download.whole():
            return None
        digest = await self._in_thread(lambda: digest_of(download.vector))
        if digest != offer.digest or not is_finite(download.vector):
            text = "a state that is not what its digest says, or not finite"
            self._tell(RemoteFault(code="bad_state", remote=download.source, detail=text))
            return None
        return State(offer.iteration, download.vector, offer.maxima)

    def offered(self, sender: PeerId, offer: StateOffer) -> None:
        download = self._awaited(sender)
        if download is None:
            return
        if offer.vector_bytes != 4 * self._length:
            raise RemoteProtocolError("bad_state", f"a state of {offer.vector_bytes} bytes, not {4 * self._length}")
        download.offer = offer
        download.offsets.clear()
        download.received_bytes = 0

    def room(self, sender: PeerId, part: StatePart, length: int) -> memoryview | None:
        """Where the payload belongs; None where nobody waits for it. Raises: RemoteProtocolError."""
        download = self._awaited(sender)
        if download is None or download.offer is None or download.offer.iteration != part.iteration:
            return None
        memory = as_bytes(download.vector)
        if part.offset % MAX_PAYLOAD_BYTES or length != min(MAX_PAYLOAD_BYTES, len(memory) - part.offset):
            raise RemoteProtocolError("bad_span", f"{length} bytes at {part.offset} of a state of {len(memory)}")
        return memory[part.offset : part.offset + length]

    def part_arrived(self, sender: PeerId, part: StatePart, length: int) -> None:
        download = self._awaited(sender)
        if download is None or download.offer is None or part.iteration != download.offer.iteration:
            return
        if part.offset not in download.offsets:
            download.offsets.add(part.offset)
            download.received_bytes += length
        if download.whole():
            download.over.set()

    def gone(self, peer: PeerId) -> None:
        self._waiting.pop(peer, None)
        if self._download is not None and self._download.source == peer:
            self._download.over.set()

    def _awaited(self, sender: PeerId) -> _Download | None:
        return self._download if self._download is not None and self._download.source == sender else None
