"""One ballot's exchange on the wire: the machine says which span goes where, this moves the memory.

Parts are read straight into their place, combined segment by segment as they come, and results stream back. Where
values are encoded, owners encode a result once, and everybody keeps what is decoded from it, the owner, too. Nothing
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

import torch
from torch import Tensor

from marfl_peer.averaging.codecs.coder import Coder
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
    `on_complete` was called or `abort` was. `coder`: how segments are encoded; None: all travel as they are."""

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
        coder: Coder | None = None,
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
        self._segments = {
            segment.start: segment for chunk in {*plan.chunks.values()} for segment in plan.segments(chunk)
        }
        self._coder = coder
        self._encoded: dict[tuple[Stage, PeerId, int], Tensor] = {}
        """Segments as they travel: others' parts and results as they come, this peer's own as they go."""
        self._parts: dict[PeerId, Tensor] = {
            peer: result.new_empty(self._mine.length) for peer in plan.contributors if peer != me
        }
        """Of this peer's chunk; where values are encoded what was decoded, before the base is put on."""
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
        if self._encodes(span.start):
            room = self._encoded[part.stage, sender, span.start] = torch.empty(length, dtype=torch.uint8)
            return _bytes_of(room)
        memory = self._parts[sender] if part.stage == "scatter" else self.result
        start = span.start - (self._mine.start if part.stage == "scatter" else 0)
        return as_bytes(memory[start : start + span.length])

    def part_arrived(self, sender: PeerId, part: Part, length: int) -> None:
        span = self._span(sender, part, length)
        if self._encodes(span.start):
            # At once: what cannot be decoded is its sender's fault.
            values = self._decode(self._encoded.pop((part.stage, sender, span.start)), span)
            if part.stage == "gather":
                self._put(values, span)
            else:
                self._parts[sender][span.start - self._mine.start : span.stop - self._mine.start] = values
        if part.stage == "gather" and not is_finite(self.result[span.start : span.stop]):
            # An honest owner seeks out who sent it such values; it does not pass them on.
            self._aborted = True
            self._on_culprit(sender)
            return
        arrived = self._machine.part_arrived if part.stage == "scatter" else self._machine.result_arrived
        self._carry_out(arrived(sender, span))

    def digest_arrived(self, sender: PeerId, digest: ChunkDigest) -> None:
        chunk = self.plan.chunks.get(sender)
        if chunk is None or not chunk.length or (digest.start, digest.stop) != (chunk.start, chunk.stop):
            raise RemoteProtocolError("bad_span", f"a digest of floats {digest.start}..{digest.stop}")
        self.digests[digest.start] = digest
        self._carry_out(self._machine.digest_arrived(sender))

    def _span(self, sender: PeerId, part: Part, length: int) -> Span:
        """The segment of a part. Raises: RemoteProtocolError."""
        start, odd = divmod(part.offset, BYTES_A_VALUE)
        span = self._segments.get(start)
        if odd or span is None or length != self._size(span):
            raise RemoteProtocolError("bad_span", f"{length} bytes from {part.offset} are no segment of the exchange")
        find = self._machine.part_room if part.stage == "scatter" else self._machine.result_room
        return find(sender, start, span.length)

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
        contributors, encodes = self.plan.contributors, self._encodes(span.start)
        parts = [self._own(span) if peer == self._me else self._parts[peer][start:stop] for peer in contributors]
        out = self.result.new_empty(span.length) if encodes else self.result[span.start : span.stop]
        self._tools.strategy(out, parts, self.plan.weights, self._tools.scratch)
        culprit = None if is_finite(out) else first_not_finite(parts)
        if culprit is not None:
            self._aborted = True
            self._on_culprit(contributors[culprit])
        elif encodes:
            self._put(self._encode_result(out, span) if self.plan.streams_back else out, span)

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
                for segment in self.plan.segments(Span(step.start, step.stop)):
                    if not await connection.drained():
                        return
                    offset = segment.start * BYTES_A_VALUE
                    part = Part(name=self.name, ballot=self.ballot, stage=step.stage, offset=offset)
                    connection.send(part, self._payload(step.stage, segment))
                    if self._encodes(segment.start):
                        await asyncio.sleep(0)  # encoding took a while, and a whole chunk may be next
                outbox.popleft()

        await self._tools.links.stream(peer, frames)

    def _payload(self, stage: Stage, segment: Span) -> memoryview:
        """A segment of this peer's as it travels."""
        if not self._encodes(segment.start):
            values = self._contribution if stage == "scatter" else self.result
            return as_bytes(values[segment.start : segment.stop])
        if stage == "scatter":
            self._encode_own(segment)
        return _bytes_of(self._encoded[stage, self._me, segment.start])

    # where values are encoded

    def _encodes(self, start: int) -> bool:
        return self._coder is not None and self._coder.encodes(start)

    def _size(self, span: Span) -> int:
        """Of a segment as it travels, in bytes."""
        if self._coder is None or not self._coder.encodes(span.start):
            return BYTES_A_VALUE * span.length
        return self._coder.encoded_bytes(span.start, span.stop)

    def _decode(self, data: Tensor, span: Span) -> Tensor:
        assert self._coder is not None
        return self._coder.decode(data, span.start, span.stop)

    def _put(self, values: Tensor, span: Span) -> None:
        assert self._coder is not None
        self._coder.put_on_(self.result, values, span.start, span.stop)

    def _encode_own(self, span: Span) -> Tensor:
        """This peer's part of a segment, encoded once; returns what the others decode from it."""
        assert self._coder is not None
        key: tuple[Stage, PeerId, int] = ("scatter", self._me, span.start)
        if key in self._encoded:
            return self._decode(self._encoded[key], span)
        values = self._coder.taken_off(self._contribution, span.start, span.stop)
        self._encoded[key], decoded = self._coder.encode(values, span.start)
        return decoded

    def _own(self, span: Span) -> Tensor:
        """What this peer itself brings to a segment that it combines."""
        if self._coder is None or not self._encodes(span.start):
            return self._contribution[span.start : span.stop]
        if self.plan.streams_back:
            return self._coder.taken_off(self._contribution, span.start, span.stop)
        return self._encode_own(span)  # everybody combines for itself, and must combine the same

    def _encode_result(self, mean: Tensor, span: Span) -> Tensor:
        """Encodes what this peer combined; returns what everybody decodes from it."""
        assert self._coder is not None
        encoded, decoded = self._coder.encode(mean, span.start)
        self._encoded["gather", self._me, span.start] = encoded
        return decoded

    def _end_if_sealed(self) -> None:
        """A result counts as held once it can be given on: with this peer's own seal, too."""
        sealed = self._mine.length == 0 or self._mine.start in self.digests or self.plan.total_weight == 0
        if self._complete and sealed and not self._aborted:
            self._parts = {}
            self._on_complete()

    def left_over(self) -> dict[int, Tensor]:
        """What rounding left over of every segment that this peer encoded."""
        return {} if self._coder is None else self._coder.left

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


def _bytes_of(data: Tensor) -> memoryview:
    return memoryview(data.numpy())  # type: ignore[arg-type]  # numpy arrays are buffers
