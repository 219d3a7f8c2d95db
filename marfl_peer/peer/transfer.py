"""One ballot's exchange on the wire: the machine says which span goes where, this moves the memory.

Parts are read straight into their place, combined segment by segment as they come, and results stream back. Nothing
here decides who is a member or when to give up.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from marfl_peer.averaging.codecs.float32 import BYTES_A_VALUE, as_bytes
from marfl_peer.averaging.finite import first_not_finite, is_finite
from marfl_peer.averaging.strategies.registry import Strategy
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.peer.seals import Sealer
from marfl_peer.protocol.exchange import Exchange, Plan, Span
from marfl_peer.protocol.instructions import CompleteExchange, ExchangeInstruction, Reduce, SendSpan, SignChunk
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName, Part

Stage = Literal["scatter", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferTools:
    """What every transfer of a peer uses."""

    links: Links
    strategy: Strategy
    sealer: Sealer
    executor: Executor
    scratch: Tensor


class Transfer:
    """`contribution` [n] is read and `result` [n] written; both belong to the caller, who must leave them be until
    `on_complete` was called or `abort` was."""

    def __init__(
        self,
        *,
        tools: TransferTools,
        name: LineName,
        ballot: Ballot,
        me: PeerId,
        plan: Plan,
        contribution: Tensor,
        result: Tensor,
        on_complete: Callable[[], None],
        on_culprit: Callable[[PeerId], None],
    ) -> None:
        self.name, self.ballot, self.plan = name, ballot, plan
        self.result = result
        self.digests: dict[int, ChunkDigest] = {}
        self._tools, self._me = tools, me
        self._contribution = contribution
        self._machine = Exchange(me, plan)
        self._mine = self._machine.mine
        self._parts: dict[PeerId, Tensor] = {
            peer: result.new_empty(self._mine.length) for peer in plan.contributors if peer != me
        }
        self._on_complete, self._on_culprit = on_complete, on_culprit
        self._outboxes: dict[PeerId, deque[SendSpan]] = {}
        self._tasks = Tasks()
        self._aborted = False
        self._complete = False

    def start(self) -> None:
        self._carry_out(self._machine.start())

    def abort(self) -> None:
        """Stops; what arrives from now on is no longer for this transfer."""
        self._aborted = True
        self._tasks.cancel()

    def missing(self) -> frozenset[PeerId]:
        return self._machine.missing()

    # what arrives

    def ready(self, peer: PeerId) -> None:
        self._carry_out(self._machine.ready(peer))

    def room(self, sender: PeerId, part: Part, length: int) -> memoryview:
        """Where the payload of a part belongs. Raises: RemoteProtocolError."""
        span = self._span(sender, part, length)
        memory = self._parts[sender] if part.stage == "scatter" else self.result
        start = span.start - (self._mine.start if part.stage == "scatter" else 0)
        return as_bytes(memory[start : start + span.length])

    def part_arrived(self, sender: PeerId, part: Part, length: int) -> None:
        span = self._span(sender, part, length)
        if part.stage == "gather" and not is_finite(self.result[span.start : span.stop]):
            # An honest owner seeks out who sent it such values; it does not pass them on.
            self._aborted = True
            self._on_culprit(sender)
            return
        arrived = self._machine.part_arrived if part.stage == "scatter" else self._machine.result_arrived
        self._carry_out(arrived(sender, span))

    def digest_arrived(self, sender: PeerId, digest: ChunkDigest) -> None:
        chunk = self.plan.chunks.get(sender)
        if chunk is None or (digest.start, digest.stop) != (chunk.start, chunk.stop):
            raise RemoteProtocolError("bad_span", f"a digest of floats {digest.start}..{digest.stop}")
        self.digests[digest.start] = digest
        self._carry_out(self._machine.digest_arrived(sender))

    def _span(self, sender: PeerId, part: Part, length: int) -> Span:
        if part.offset % BYTES_A_VALUE or length % BYTES_A_VALUE:
            raise RemoteProtocolError("bad_span", f"{length} bytes from {part.offset} are no float32 values")
        find = self._machine.part_room if part.stage == "scatter" else self._machine.result_room
        return find(sender, part.offset // BYTES_A_VALUE, length // BYTES_A_VALUE)

    # what is done

    def _carry_out(self, steps: list[ExchangeInstruction]) -> None:
        for step in steps:
            if self._aborted:
                return
            match step:
                case SendSpan():
                    self._queue(step)
                case Reduce():
                    self._reduce(Span(step.start, step.stop))
                case SignChunk():
                    self._tasks.start(self._sign(Span(step.start, step.stop)))
                case CompleteExchange():
                    self._complete = True
                    self._end_if_sealed()

    def _reduce(self, span: Span) -> None:
        start, stop = span.start - self._mine.start, span.stop - self._mine.start
        own = self._contribution[span.start : span.stop]
        contributors = self.plan.contributors
        parts = [own if peer == self._me else self._parts[peer][start:stop] for peer in contributors]
        out = self.result[span.start : span.stop]
        self._tools.strategy(out, parts, self.plan.weights, self._tools.scratch)
        if not is_finite(out):
            culprit = first_not_finite(parts)
            if culprit is not None:
                self._aborted = True
                self._on_culprit(contributors[culprit])

    def _queue(self, span: SendSpan) -> None:
        outbox = self._outboxes.get(span.to)
        if outbox is None:
            outbox = self._outboxes[span.to] = deque()
        outbox.append(span)
        if len(outbox) == 1:
            self._tasks.start(self._pump(span.to, outbox))

    async def _pump(self, peer: PeerId, outbox: deque[SendSpan]) -> None:
        """Sends what is queued for a peer; a span leaves the queue when it was sent."""

        async def frames(connection: Connection) -> None:
            while outbox:
                step = outbox[0]
                values = self._contribution if step.stage == "scatter" else self.result
                for segment in Span(step.start, step.stop).segments():
                    if not await connection.drained():
                        return
                    offset = segment.start * BYTES_A_VALUE
                    part = Part(name=self.name, ballot=self.ballot, stage=step.stage, offset=offset)
                    connection.send(part, as_bytes(values[segment.start : segment.stop]))
                outbox.popleft()

        await self._tools.links.stream(peer, frames)

    def _end_if_sealed(self) -> None:
        """A result counts as held once it can be given on: with this peer's own seal, too."""
        sealed = self._mine.length == 0 or self._mine.start in self.digests or self.plan.total_weight == 0
        if self._complete and sealed and not self._aborted:
            self._parts = {}
            self._on_complete()

    async def _sign(self, chunk: Span) -> None:
        """Hashes the own chunk beside the loop, and tells everybody who waits for its digest."""
        loop = asyncio.get_running_loop()
        chunk_bytes = as_bytes(self.result[chunk.start : chunk.stop])
        digest = await loop.run_in_executor(self._tools.executor, lambda: hashlib.sha256(chunk_bytes).digest())
        seal = self._tools.sealer.seal(self.name, self.ballot, chunk, digest)
        self.digests[chunk.start] = seal
        if self.plan.streams_back:
            for peer in self.plan.members:
                if peer != self._me:
                    self._tools.links.send(peer, seal)
        self._end_if_sealed()
