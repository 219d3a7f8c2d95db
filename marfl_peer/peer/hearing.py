"""One round at one student: its mates are asked for their models, and every model that is here is heard at once, so
that its memory is free for the next.

Knows bytes and who is to give them; what is made of a model is its owner's business, and whom to ask `protocol.mates`'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from marfl_peer.averaging.codecs.parcel import Packing, bytes_of
from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.network.links import Links
from marfl_peer.protocol.mates import Mates
from marfl_peer.protocol.messages import LineName, ModelOffer, ModelPart, ModelPull, ModelRequest


@dataclass(slots=True, eq=False)
class Incoming:
    """A model on its way here. `missing`: where the segments begin that are not here."""

    packing: Packing
    parcel: Tensor
    missing: set[int] = field(default_factory=set)


class Hearing:
    """`hear(mate, packing, parcel)` tells whether a model counts. `base`: digest of the state that this student holds;
    `short` is how models come that are encoded against it, `full` how the others do."""

    def __init__(
        self,
        name: LineName,
        mates: Mates,
        *,
        base: str,
        full: Packing,
        short: Packing,
        hear: Callable[[PeerId, Packing, Tensor], Awaitable[bool]],
        links: Links,
        clock: Clock,
    ) -> None:
        self.name, self.mates = name, mates
        self.received_bytes = 0
        self._base, self._full, self._short = base, full, short
        self._hear, self._links, self._clock = hear, links, clock
        self._offers: dict[PeerId, ModelOffer] = {}
        self._incoming: dict[PeerId, Incoming] = {}
        self._whole: list[PeerId] = []
        self._news = asyncio.Event()

    async def run(self, *, hurry_at: float, deadline: float) -> None:
        """Until all models that are to come are heard, or it is too late; who has not answered by `hurry_at` is not
        waited for."""
        mates, next_look = self.mates, min(hurry_at, deadline)
        while not mates.is_over and (now := self._clock.now()) < deadline:
            if next_look < deadline and now >= next_look:
                mates.hurry()
                next_look = deadline
            for mate in mates.ask():
                self._links.send(mate, ModelRequest(name=self.name))
            for mate in mates.pull():
                self._pull(mate)
            if self._whole:
                await self._hear_next(self._whole[0])
                continue
            if mates.is_over:
                break
            try:
                async with asyncio.timeout_at(next_look):
                    await self._news.wait()
            except TimeoutError:
                continue
            self._news.clear()
        self._incoming.clear()

    def _pull(self, mate: PeerId) -> None:
        offer = self._offers[mate]
        is_short = self._short.needs_base and offer.base == self._base != ""
        packing = self._short if is_short else self._full
        parcel = torch.empty(packing.total_bytes, dtype=torch.uint8)
        self._incoming[mate] = Incoming(packing, parcel, set(packing.segments))
        self._links.send(mate, ModelPull(name=self.name, base=offer.base if is_short else ""))

    async def _hear_next(self, mate: PeerId) -> None:
        incoming = self._incoming.pop(mate)
        does_count = await self._hear(mate, incoming.packing, incoming.parcel)
        self._whole.remove(mate)
        if does_count:
            self.mates.arrived(mate)
        else:
            self.mates.out(mate)

    # the network's side

    def offered(self, mate: PeerId, offer: ModelOffer) -> None:
        if offer.name == self.name and self.mates.offered(mate):
            self._offers[mate] = offer
            self._news.set()

    def room(self, mate: PeerId, part: ModelPart, length: int) -> memoryview | None:
        """Memory for a segment that is awaited from this mate, else None. Raises: RemoteProtocolError."""
        incoming = self._awaited(mate, part)
        if incoming is None:
            return None
        segment = incoming.packing.segments[part.offset]
        if length != segment.size:
            raise RemoteProtocolError("bad_span", f"{length} bytes of a segment of {segment.size}")
        return bytes_of(incoming.parcel)[segment.at : segment.at + segment.size]

    def arrived(self, mate: PeerId, part: ModelPart, length: int) -> None:
        """A segment is here, in the memory that `room` gave. Raises: RemoteProtocolError where it is no segment."""
        incoming = self._awaited(mate, part)
        if incoming is None:
            return
        if length != incoming.packing.segments[part.offset].size:  # nothing at all, which has no room
            raise RemoteProtocolError("bad_span", f"{length} bytes at {part.offset}")
        incoming.missing.discard(part.offset)
        self.received_bytes += length
        if not incoming.missing:
            self._whole.append(mate)
            self._news.set()

    def gone(self, mate: PeerId) -> None:
        """It has no model, or is lost. What is here of it whole counts."""
        if mate not in self._whole:
            self._incoming.pop(mate, None)
            self.mates.out(mate)
            self._news.set()

    def interrupted(self, mate: PeerId) -> None:
        """What was under way is lost, but the mate is not."""
        if mate not in self._whole and self.mates.interrupted(mate):
            self._incoming.pop(mate, None)
            self._news.set()

    def _awaited(self, mate: PeerId, part: ModelPart) -> Incoming | None:
        incoming = self._incoming.get(mate) if part.name == self.name and self.mates.awaits(mate) else None
        return incoming if incoming is not None and part.offset in incoming.missing else None
