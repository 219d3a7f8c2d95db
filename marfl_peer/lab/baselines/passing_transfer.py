"""One ballot's exchange round a ring on the wire: the machine says which span goes on, this moves the memory.

Everything comes from the left neighbour and goes to the right one, a segment a frame. What has come is there as a whole
before it is passed on, and what is not finite is not. Here is what ring and RDFL share; where memory is, they say.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Protocol

from marfl_peer.averaging.codecs.float32 import BYTES_A_VALUE, as_bytes
from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.averaging.digest import digest_of
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.lab.baselines.passing import Add, CheckChunk, MaySend, PassingInstruction, Stage
from marfl_peer.network.connection import Connection
from marfl_peer.peer.flows import Order
from marfl_peer.protocol.exchange import Plan, Span
from marfl_peer.protocol.frames import Room
from marfl_peer.protocol.instructions import CompleteExchange, Reduce, SendSpan, SignChunk
from marfl_peer.protocol.messages import ChunkDigest, Part


class PassingMachine(Protocol):
    """What ring and RDFL decide by."""

    plan: Plan
    mine: Span

    def start(self) -> list[PassingInstruction]: ...

    def ready(self, peer: PeerId) -> list[PassingInstruction]: ...

    def admit(self, sender: PeerId, stage: Stage, span: Span) -> None: ...

    def arrived(self, stage: Stage, span: Span) -> list[PassingInstruction]: ...

    def digest_arrived(self, sender: PeerId) -> list[PassingInstruction]: ...


class PassingTransfer:
    """The same face as `Transfer`, for machines that pass on. Values travel as float32, as they are."""

    def __init__(self, order: Order, machine: PassingMachine) -> None:
        self.name, self.ballot, self.result = order.name, order.ballot, order.result
        self.digests: dict[int, ChunkDigest] = {}
        self._order, self._me, self._tools = order, order.me, order.tools
        self._machine, self._plan = machine, machine.plan
        self._result_bytes = as_bytes(order.result)
        self._outbox: deque[tuple[Part, memoryview]] = deque()
        self._right: PeerId | None = None
        """As soon as it may be sent to."""
        self._held_up: Connection | None = None
        """Over which more is sent as soon as it takes it."""
        self._aborted = False

    @property
    def members(self) -> tuple[PeerId, ...]:
        return self._plan.members

    def start(self) -> None:
        self._carry_out(self._machine.start())

    def abort(self) -> None:
        """Stops; what arrives from now on is no longer for this transfer."""
        self._aborted = True
        self._outbox.clear()

    def settle(self) -> None:
        """Nothing: what others still need is in the outbox, and nothing else is kept."""

    def left_over(self) -> Residuals:
        return Residuals()

    # what arrives

    def ready(self, peer: PeerId) -> None:
        self._carry_out(self._machine.ready(peer))

    def room(self, sender: PeerId, part: Part, length: int) -> Room:
        """Where a segment belongs. Raises: RemoteProtocolError."""
        (start, odd), (count, rest) = divmod(part.offset, BYTES_A_VALUE), divmod(length, BYTES_A_VALUE)
        if odd or rest or not count:
            raise RemoteProtocolError("bad_span", f"{length} bytes from {part.offset} are no segment of the exchange")
        stage, span = part.stage, Span(start, start + count)
        self._machine.admit(sender, stage, span)
        return Room(self._piece(sender, stage, span))

    def _piece(self, sender: PeerId, stage: Stage, span: Span) -> Iterator[memoryview]:
        yield self._memory(stage, span)
        if not self._aborted:
            self._come(sender, stage, span)

    def digest_arrived(self, sender: PeerId, digest: ChunkDigest) -> None:
        chunk = self._plan.chunks.get(sender)
        is_sent = self._plan.streams_back and chunk is not None and chunk.length > 0
        if not is_sent or chunk != (digest.start, digest.stop):
            raise RemoteProtocolError("bad_span", f"a digest of floats {digest.start}..{digest.stop}")
        self.digests[digest.start] = digest
        self._carry_out(self._machine.digest_arrived(sender))

    def _come(self, sender: PeerId, stage: Stage, span: Span) -> None:
        if not self._is_finite(stage, span):
            # An honest neighbour looks at what it passes on.
            self._blame(sender)
            return
        self._carry_out(self._machine.arrived(stage, span))

    # where memory is

    def _memory(self, stage: Stage, span: Span) -> memoryview:
        """Where an admitted segment is read to."""
        raise NotImplementedError

    def _is_finite(self, stage: Stage, span: Span) -> bool:
        """Whether all values of a segment that came are."""
        raise NotImplementedError

    def _payload(self, stage: Stage, span: Span) -> memoryview:
        """The segment that is passed on, or begins here."""
        raise NotImplementedError

    def _add(self, step: Add) -> None:
        raise NotImplementedError

    def _reduce(self, span: Span) -> None:
        raise NotImplementedError

    # what is done

    def _carry_out(self, steps: list[PassingInstruction]) -> None:
        for step in steps:
            if self._aborted:
                return
            match step:
                case SendSpan():
                    self._queue(step)
                case MaySend():
                    self._right = step.to
                    self._pump_soon()
                case Add():
                    self._add(step)
                case Reduce():
                    self._reduce(Span(step.start, step.stop))
                case SignChunk():
                    self._sign()
                case CheckChunk():
                    self._check(step.owner)
                case CompleteExchange():
                    self._order.on_complete()

    def _queue(self, step: SendSpan) -> None:
        was_empty = not self._outbox
        span = Span(step.start, step.stop)
        part = Part(name=self.name, ballot=self.ballot, stage=step.stage, offset=span.start * BYTES_A_VALUE)
        self._outbox.append((part, self._payload(step.stage, span)))
        if was_empty:
            self._pump_soon()

    def _pump_soon(self) -> None:
        """Not at once: what else this turn of the loop brings may go along."""
        if self._right is not None:
            asyncio.get_running_loop().call_soon(self._pump, self._right)

    def _pump(self, right: PeerId) -> None:
        """Sends what is queued, as long as the connection takes it."""
        connection = self._tools.links.connection(right)
        while self._outbox and connection is not None and not self._aborted:
            if not connection.is_writable:
                if self._held_up is not connection:
                    self._held_up = connection
                    connection.when_writable(partial(self._pump_on, right))
                return
            connection.send(*self._outbox.popleft())

    def _pump_on(self, right: PeerId) -> None:
        self._held_up = None
        self._pump(right)

    def _sign(self) -> None:
        """The own chunk is whole: tells everybody who waits for its digest."""
        mine = self._machine.mine
        seal = self._tools.sealer.seal(self.name, self.ballot, mine, digest_of(self._chunk_bytes(mine)))
        self.digests[mine.start] = seal
        if self._plan.streams_back:
            for peer in self._plan.members:
                if peer != self._me:
                    self._tools.links.send(peer, seal)

    def _check(self, owner: PeerId) -> None:
        chunk = self._plan.chunks[owner]
        if digest_of(self._chunk_bytes(chunk)) != self.digests[chunk.start].digest:
            # Who changed it is not known; who passed it on did not wait for the digest, but is in the way to it.
            at = self._plan.members.index(self._me)
            self._blame(self._plan.members[at - 1])

    def _blame(self, culprit: PeerId) -> None:
        self._aborted = True
        self._order.on_culprit(culprit)

    def _chunk_bytes(self, chunk: Span) -> memoryview:
        return self._result_bytes[BYTES_A_VALUE * chunk.start : BYTES_A_VALUE * chunk.stop]
