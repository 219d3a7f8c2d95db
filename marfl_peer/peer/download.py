"""The bytes of one state, in parts from several peers at once; what came stays, whoever falls away.

Knows sources and parts; whether the state is the right one, and who is asked for which, others decide.
"""

from __future__ import annotations

import asyncio

import torch
from torch import Tensor

from marfl_peer.averaging.codecs.float32 import as_bytes
from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.network.links import Links
from marfl_peer.protocol.deadlines import silence_s
from marfl_peer.protocol.messages import StatePart, StatePull
from marfl_peer.protocol.parts import PART_BYTES, PartQueue


class Download:
    """The state after `iteration`, of `length` floats. Its memory is that of this peer's own schema."""

    def __init__(self, *, iteration: int, length: int, links: Links, clock: Clock) -> None:
        self.iteration = iteration
        self.vector: Tensor = torch.empty(length, dtype=torch.float32)
        self.received_bytes = 0
        self._links, self._clock = links, clock
        self.queue = PartQueue(total_bytes=4 * length, part_bytes=PART_BYTES, patience_s=silence_s(0.0))
        self._rooms: dict[tuple[PeerId, int], memoryview] = {}
        self._news = asyncio.Event()

    async def run(self, deadline: float) -> bool:
        """Asks the sources for parts until all are here; False where no source is left, or it is too late."""
        while not self.queue.is_whole:
            now = self._clock.now()
            for source in self.queue.stalled(now=now):
                self.queue.drop(source)
            if not self.queue.sources or now >= deadline:
                return False
            for source, offset in self.queue.hand_out(now=now):
                self._links.send(source, StatePull(iteration=self.iteration, offset=offset))
            due = self.queue.next_deadline()
            try:
                async with asyncio.timeout_at(deadline if due is None else min(due, deadline)):
                    await self._news.wait()
            except TimeoutError:
                continue
            self._news.clear()
        return True

    def add(self, source: PeerId) -> None:
        """One more peer that offers this very state."""
        self.queue.add(source, now=self._clock.now())
        self._news.set()

    def drop(self, source: PeerId) -> None:
        """This peer gives nothing more."""
        self.queue.drop(source)
        self._news.set()

    def room(self, sender: PeerId, part: StatePart, length: int) -> memoryview | None:
        """Memory for a part that is awaited from this sender, else None. Raises: RemoteProtocolError.

        Not the vector's: a source that was given up in the middle of a part must not write into another's.
        """
        if part.iteration != self.iteration or not self.queue.awaits(sender, part.offset):
            return None
        total = 4 * self.vector.numel()
        if length != min(PART_BYTES, total - part.offset):
            raise RemoteProtocolError("bad_span", f"{length} bytes at {part.offset} of a state of {total}")
        room = self._rooms[sender, part.offset] = memoryview(bytearray(length))
        return room

    def arrived(self, sender: PeerId, part: StatePart) -> None:
        """A part is here, in the memory that `room` gave."""
        room = self._rooms.pop((sender, part.offset), None)
        if room is not None and part.iteration == self.iteration and self.queue.awaits(sender, part.offset):
            as_bytes(self.vector)[part.offset : part.offset + len(room)] = room
            self.received_bytes += len(room)
            self.queue.arrived(sender, part.offset, now=self._clock.now())
            self._news.set()

    def differing(self, other: Download) -> list[PeerId]:
        """Who gave parts of this one that are not those of the other."""
        mine, theirs = as_bytes(self.vector), as_bytes(other.vector)
        liars: dict[PeerId, None] = {}
        for offset, source in sorted(self.queue.given_by.items()):
            if mine[offset : offset + PART_BYTES] != theirs[offset : offset + PART_BYTES]:
                liars[source] = None
        return list(liars)
