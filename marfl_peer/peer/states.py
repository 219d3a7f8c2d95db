"""The agreed state after an iteration, kept for those who are behind: offered with a signature, given in parts.

A state that was offered is kept until those who were offered it have it, also when later ones follow; a few at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from torch import Tensor

from marfl_peer.averaging.codecs.float32 import as_bytes
from marfl_peer.averaging.digest import digest_of as bytes_digest
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.peer.attester import Attester
from marfl_peer.protocol.messages import NoState, StateOffer, StatePart, StatePull, StateRequest
from marfl_peer.protocol.parts import PART_BYTES

MAX_WAITING = 256
"""Peers that wait for a state that this peer does not have yet."""
MAX_KEPT = 2
"""States that are kept for those who were offered them, besides the agreed one."""
MAX_PULLS = 16
"""Parts that one peer may wait for at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The vector [n] (schema order) and the integer buffers after an iteration; nobody changes it.

    `group`: the members who agreed on it in the last round, as far as this peer knows.
    """

    iteration: int
    vector: Tensor
    maxima: tuple[int, ...]
    group: tuple[PeerId, ...] = ()


def digest_of(vector: Tensor) -> str:
    """The digest of the values' bytes, in hex."""
    return bytes_digest(as_bytes(vector)).hex()


@dataclass(slots=True, eq=False)
class _Shelf:
    """A state that is given away, and to whom it was offered."""

    state: State
    readers: set[PeerId] = field(default_factory=set)
    offer: asyncio.Future[StateOffer] | None = None
    digest: str = ""
    being_hashed: asyncio.Lock = field(default_factory=asyncio.Lock)


class States:
    def __init__(
        self,
        *,
        links: Links,
        attester: Attester,
        in_thread: Callable[[Callable[[], str]], Awaitable[str]],
    ) -> None:
        self._links, self._attester, self._in_thread = links, attester, in_thread
        self._agreed: _Shelf | None = None
        self._kept: list[_Shelf] = []
        self._waiting: dict[PeerId, int] = {}
        self._pulls: dict[PeerId, deque[StatePull]] = {}
        self._tasks = Tasks()
        self._less = asyncio.Event()

    @property
    def agreed(self) -> State | None:
        return None if self._agreed is None else self._agreed.state

    async def digest(self) -> str:
        """The digest of the agreed state's vector, in hex."""
        assert self._agreed is not None
        return await self._digest(self._agreed)

    def prepare_digest(self) -> None:
        """It is wanted soon: it is worked out beside whatever else there is to do."""
        assert self._agreed is not None
        self._tasks.start(self._prepare(self._agreed))

    async def _prepare(self, shelf: _Shelf) -> None:
        await self._digest(shelf)

    async def _digest(self, shelf: _Shelf) -> str:
        async with shelf.being_hashed:
            shelf.digest = shelf.digest or await self._in_thread(lambda: digest_of(shelf.state.vector))
        return shelf.digest

    async def close(self) -> None:
        await self._tasks.close()

    def agree(self, state: State) -> None:
        """This is the state now; whoever waited for it is offered it."""
        if self._agreed is not None:
            self._kept = [shelf for shelf in (*self._kept, self._agreed) if shelf.readers][-MAX_KEPT:]
        self._agreed = _Shelf(state)
        for peer, at_least in sorted(self._waiting.items()):
            if state.iteration >= at_least:
                del self._waiting[peer]
                self._offer(peer, self._agreed)

    # the network's side

    def asked(self, peer: PeerId, request: StateRequest) -> None:
        self.taken(peer)
        if self._agreed is not None and self._agreed.state.iteration >= request.at_least:
            self._offer(peer, self._agreed)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting[peer] = request.at_least

    def pulled(self, peer: PeerId, pull: StatePull) -> None:
        """A part that is asked for. One that there is none of, and one too many, are not answered with bytes."""
        shelf = self._shelf(pull.iteration)
        pulls = self._pulls.get(peer)
        if shelf is None or pull.offset >= len(as_bytes(shelf.state.vector)) or pull.offset % PART_BYTES:
            self._links.send(peer, NoState(iteration=pull.iteration))
        elif pulls is None:
            self._pulls[peer] = deque([pull])
            self._tasks.start(self._give(peer))
        elif len(pulls) < MAX_PULLS:
            pulls.append(pull)

    def taken(self, peer: PeerId) -> None:
        """This peer needs nothing more of what it was offered."""
        self._waiting.pop(peer, None)
        for shelf in self._shelves():
            shelf.readers.discard(peer)
        self._kept = [shelf for shelf in self._kept if shelf.readers]
        self._less.set()

    def gone(self, peer: PeerId) -> None:
        self.taken(peer)

    async def unneeded(self) -> None:
        """Returns when nobody takes a state from here any more."""
        while any(shelf.readers for shelf in self._shelves()):
            self._less.clear()
            await self._less.wait()

    # giving

    def _shelves(self) -> list[_Shelf]:
        return [*self._kept, *([] if self._agreed is None else [self._agreed])]

    def _shelf(self, iteration: int) -> _Shelf | None:
        return next((shelf for shelf in reversed(self._shelves()) if shelf.state.iteration == iteration), None)

    def _offer(self, peer: PeerId, shelf: _Shelf) -> None:
        shelf.readers.add(peer)
        if shelf.offer is None:
            shelf.offer = asyncio.get_running_loop().create_future()
            self._tasks.start(self._sign(shelf))
        shelf.offer.add_done_callback(lambda offer: self._send_offer(peer, shelf, offer))

    def _send_offer(self, peer: PeerId, shelf: _Shelf, offer: asyncio.Future[StateOffer]) -> None:
        if peer in shelf.readers and not offer.cancelled():
            self._links.send(peer, offer.result())

    async def _sign(self, shelf: _Shelf) -> None:
        state = shelf.state
        digest = await self._digest(shelf)
        assert shelf.offer is not None
        shelf.offer.set_result(
            self._attester.offer(
                iteration=state.iteration,
                vector_bytes=len(as_bytes(state.vector)),
                digest=digest,
                maxima=state.maxima,
                group=state.group,
            )
        )

    async def _give(self, peer: PeerId) -> None:
        async def frames(connection: Connection) -> None:
            pulls = self._pulls[peer]
            while pulls and await connection.drained():
                pull = pulls.popleft()
                shelf = self._shelf(pull.iteration)
                if shelf is None:
                    connection.send(NoState(iteration=pull.iteration))
                    continue
                memory = as_bytes(shelf.state.vector)[pull.offset : pull.offset + PART_BYTES]
                connection.send(StatePart(iteration=pull.iteration, offset=pull.offset), memory)

        try:
            await self._links.stream(peer, frames)
        finally:
            del self._pulls[peer]
