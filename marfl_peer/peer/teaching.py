"""A peer as a teacher: its model as it enters each round of distillation, offered to its mates on that line and to
nobody else, sent to whom pulls it, and let go when all of them have it or the iteration is over.

Knows vectors and names of lines; not what others make of a model.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from torch import Tensor

from marfl_peer.averaging.codecs.parcel import Packing, bytes_of
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.protocol.messages import LineName, ModelOffer, ModelPart, ModelPull, ModelRequest, NoModel

MAX_WAITING = 8
"""Requests of one peer that wait for a model that is not there yet: there are a few rounds an iteration."""
Turn = tuple[int, int]
"""Iteration and round."""


@dataclass(slots=True, eq=False)
class Ware:
    """What is offered on a line. `encoded` may be taken by who holds the `base`; `full` by everybody."""

    offer: ModelOffer
    full: Tensor
    encoded: Tensor | None
    mates: set[PeerId] = field(default_factory=set)
    """Who may still pull it."""


class Teaching:
    """`full` and `short` say how vectors travel as they are, and encoded against a base."""

    def __init__(self, *, links: Links, full: Packing, short: Packing) -> None:
        self._links, self._full, self._short = links, full, short
        self._wares: dict[LineName, Ware] = {}
        self._waiting: dict[tuple[PeerId, Turn], LineName] = {}
        self._next: Turn = (0, 0)
        """The first turn whose model may still come."""
        self._giving: set[tuple[PeerId, LineName]] = set()
        self._tasks = Tasks()

    async def close(self) -> None:
        await self._tasks.close()
        self._wares.clear()

    def __len__(self) -> int:
        """How many models are held for others."""
        return len(self._wares)

    # the iteration loop's side

    def offer(self, ware: Ware, mates: Collection[PeerId]) -> None:
        """This is the model of that line; mates that wait for it hear of it."""
        name = ware.offer.name
        ware.mates = set(mates)
        if mates:
            self._wares[name] = ware
        self._passed((name.iteration, name.round + 1))

    def withhold(self, iteration: int) -> None:
        """No more models in this iteration; those that are held stay there for who was to have them."""
        self._passed((iteration + 1, 0))

    def let_go(self) -> None:
        """The iteration is over: nobody distils in it any more."""
        self._wares.clear()

    def _passed(self, turn: Turn) -> None:
        self._next = max(self._next, turn)
        for key, name in list(self._waiting.items()):
            if key[1] < self._next:
                del self._waiting[key]
                self._answer(key[0], name)

    # the network's side

    def asked(self, peer: PeerId, request: ModelRequest) -> None:
        turn = (request.name.iteration, request.name.round)
        if turn < self._next:
            self._answer(peer, request.name)
        elif sum(who == peer for who, _ in self._waiting) < MAX_WAITING:
            self._waiting[peer, turn] = request.name

    def _answer(self, peer: PeerId, name: LineName) -> None:
        ware = self._wares.get(name)
        if ware is None or peer not in ware.mates:
            self._links.send(peer, NoModel(name=name))
        else:
            self._links.send(peer, ware.offer)

    def pulled(self, peer: PeerId, pull: ModelPull) -> None:
        """One model at a time is on its way to a peer, as often as it asks."""
        ware = self._wares.get(pull.name)
        if ware is None or peer not in ware.mates:
            self._links.send(peer, NoModel(name=pull.name))
        elif (peer, pull.name) not in self._giving:
            self._giving.add((peer, pull.name))
            self._tasks.start(self._give(peer, pull, ware))

    def gone(self, peer: PeerId) -> None:
        """It asks again should it come back, if it is still of use to it."""
        for key in [key for key in self._waiting if key[0] == peer]:
            del self._waiting[key]

    async def _give(self, peer: PeerId, pull: ModelPull, ware: Ware) -> None:
        is_short = ware.encoded is not None and pull.base == ware.offer.base != ""
        packing, parcel = (self._short, ware.encoded) if is_short else (self._full, ware.full)
        assert parcel is not None
        memory = bytes_of(parcel)
        is_through = False

        async def frames(connection: Connection) -> None:
            nonlocal is_through
            for segment in packing.segments.values():
                if not await connection.drained():
                    return
                part = ModelPart(name=pull.name, offset=segment.start)
                connection.send(part, memory[segment.at : segment.at + segment.size])
            is_through = connection.is_open

        try:
            await self._links.stream(peer, frames)
        finally:
            self._giving.discard((peer, pull.name))
        if is_through:
            ware.mates.discard(peer)
            if not ware.mates and self._wares.get(pull.name) is ware:
                del self._wares[pull.name]
