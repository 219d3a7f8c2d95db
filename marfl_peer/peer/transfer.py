"""One ballot's exchange on the wire: the machine says which span goes where, this moves the memory.

Parts are read straight into their place, combined segment by segment as they come, and results stream back. Where
values are encoded, owners encode a result once, and everybody keeps what is decoded from it, the owner, too. Nothing
here decides who is a member or when to give up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.codecs.coder import Coder
from marfl_peer.averaging.codecs.float32 import BYTES_A_VALUE, as_bytes
from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.averaging.digest import Hasher
from marfl_peer.averaging.finite import first_not_finite, is_finite
from marfl_peer.averaging.strategies.registry import Strategy
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.peer.seals import Sealer
from marfl_peer.protocol.exchange import Exchange, Plan, Span
from marfl_peer.protocol.frames import Room
from marfl_peer.protocol.instructions import CompleteExchange, ExchangeInstruction, Reduce, SendSpan, SignChunk
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName, Part

Stage = Literal["scatter", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferTools:
    """What every transfer of a peer uses."""

    links: Links
    pool: BufferPool
    strategy: Strategy
    sealer: Sealer
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
        """This peer's own segments as they travel."""
        self._memory: list[Tensor] = []
        self._parts = self._places([peer for peer in plan.contributors if peer != me])
        """Of this peer's chunk; where values are encoded what was decoded, before the base is put on."""
        self._given: set[tuple[Stage, PeerId, int]] = set()
        """Rooms are given once: over a second connection nobody shall write into what is whole already."""
        self._part_bytes = {peer: as_bytes(part) for peer, part in self._parts.items()}
        self._contribution_bytes, self._result_bytes = as_bytes(contribution), as_bytes(result)
        self._hasher = Hasher()
        self._hashed_to = self._mine.start
        self._unhashed: set[Span] = set()
        self._on_complete, self._on_culprit = on_complete, on_culprit
        self._outboxes: dict[PeerId, deque[SendSpan]] = {}
        self._tasks = Tasks()
        self._aborted = self._is_settled = False

    def start(self) -> None:
        self._carry_out(self._machine.start())

    def abort(self) -> None:
        """Stops; what arrives from now on is no longer for this transfer."""
        self._aborted = True
        self._tasks.cancel()

    def settle(self) -> None:
        """The line is over here. If that is by this exchange, what was encoded is needed until it is sent, no longer,
        and what rounding left over is kept elsewhere."""
        self._is_settled = not self.missing()
        self._let_go()

    def _let_go(self) -> None:
        if self._is_settled and not any(self._outboxes.values()):
            self._encoded.clear()
            if self._coder is not None:
                self._coder.let_go()

    def missing(self) -> frozenset[PeerId]:
        return self._machine.missing()

    # what arrives

    def ready(self, peer: PeerId) -> None:
        self._carry_out(self._machine.ready(peer))

    def room(self, sender: PeerId, part: Part, length: int) -> Room:
        """Where the payload of a part belongs. Raises: RemoteProtocolError."""
        start, odd = divmod(part.offset, BYTES_A_VALUE)
        span = self._segments.get(start)
        if odd or span is None or length != self._size(span):
            raise RemoteProtocolError("bad_span", f"{length} bytes from {part.offset} are no segment of the exchange")
        is_part = part.stage == "scatter"
        (self._machine.part_room if is_part else self._machine.result_room)(sender, start, span.length)
        if (part.stage, sender, start) in self._given:
            raise RemoteProtocolError("bad_span", f"floats {start}..{span.stop} of {sender[:12]} come twice")
        self._given.add((part.stage, sender, start))
        if self._encodes(start):
            data = torch.empty(length, dtype=torch.uint8)
            return Room(_bytes_of(data), partial(self._encoded_arrived, sender, part.stage, span, data))
        if is_part:
            begin = part.offset - BYTES_A_VALUE * self._mine.start
            memory = self._part_bytes[sender][begin : begin + length]
            return Room(memory, partial(self._part_arrived, sender, span))
        memory = self._result_bytes[part.offset : part.offset + length]
        return Room(memory, partial(self._result_arrived, sender, span))

    def _encoded_arrived(self, sender: PeerId, stage: Stage, span: Span, data: Tensor) -> None:
        """Decoded at once: what cannot be is its sender's fault."""
        if self._aborted:
            return
        assert self._coder is not None
        if stage == "gather":
            self._coder.decode_on_(self.result, data, span.start, span.stop)
            self._result_arrived(sender, span)
        else:
            part = self._parts[sender][span.start - self._mine.start : span.stop - self._mine.start]
            self._coder.decode_(part, data, span.start)
            self._part_arrived(sender, span)

    def _part_arrived(self, sender: PeerId, span: Span) -> None:
        if not self._aborted:
            self._carry_out(self._machine.part_arrived(sender, span))

    def _result_arrived(self, sender: PeerId, span: Span) -> None:
        if self._aborted:
            return
        if not is_finite(self.result[span.start : span.stop]):
            # An honest owner seeks out who sent it such values; it does not pass them on.
            self._aborted = True
            self._on_culprit(sender)
            return
        self._carry_out(self._machine.result_arrived(sender, span))

    def digest_arrived(self, sender: PeerId, digest: ChunkDigest) -> None:
        chunk = self.plan.chunks.get(sender)
        if chunk is None or not chunk.length or (digest.start, digest.stop) != (chunk.start, chunk.stop):
            raise RemoteProtocolError("bad_span", f"a digest of floats {digest.start}..{digest.stop}")
        self.digests[digest.start] = digest
        self._carry_out(self._machine.digest_arrived(sender))

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
                    self._sign()
                case CompleteExchange():
                    # Sealed it is, too: a result counts as held once it can be given on.
                    self._end()

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
        if culprit is None:
            self._hash(span)

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
                    if not (connection.is_writable or await connection.drained()):
                        return
                    offset = segment.start * BYTES_A_VALUE
                    part = Part(name=self.name, ballot=self.ballot, stage=step.stage, offset=offset)
                    connection.send(part, self._payload(step.stage, segment))
                    if self._encodes(segment.start):
                        await asyncio.sleep(0)  # encoding took a while, and a whole chunk may be next
                outbox.popleft()
            self._let_go()

        await self._tools.links.stream(peer, frames)

    def _payload(self, stage: Stage, segment: Span) -> memoryview:
        """A segment of this peer's as it travels."""
        if not self._encodes(segment.start):
            memory = self._contribution_bytes if stage == "scatter" else self._result_bytes
            return memory[BYTES_A_VALUE * segment.start : BYTES_A_VALUE * segment.stop]
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

    def _places(self, senders: Sequence[PeerId]) -> dict[PeerId, Tensor]:
        """Memory for a part of this peer's chunk from each of them, as few vectors of the pool as there need be."""
        length, pool = self._mine.length, self._tools.pool
        if not length or not senders:
            return dict.fromkeys(senders, self.result.new_empty(0))
        in_one = pool.length // length
        self._memory = [pool.take() for _ in range(0, len(senders), in_one)]
        rows = [memory[row * length : (row + 1) * length] for memory in self._memory for row in range(in_one)]
        return dict(zip(senders, rows, strict=False))

    def _end(self) -> None:
        """Whole: all parts came, so nobody writes into their memory any more."""
        self._parts, self._part_bytes = {}, {}
        for memory in self._memory:
            self._tools.pool.give(memory)
        self._on_complete()

    def left_over(self) -> Residuals:
        """What rounding left over of every segment that this peer encoded."""
        return Residuals() if self._coder is None else self._coder.left

    def _hash(self, span: Span) -> None:
        """Takes a combined segment of the own chunk into its digest, now that it is in the processor's cache."""
        self._unhashed.add(span)
        while (following := self._segments.get(self._hashed_to)) in self._unhashed:
            assert following is not None
            self._unhashed.discard(following)
            self._hasher.update(self._result_bytes[BYTES_A_VALUE * following.start : BYTES_A_VALUE * following.stop])
            self._hashed_to = following.stop

    def _sign(self) -> None:
        """The own chunk is combined: tells everybody who waits for its digest."""
        seal = self._tools.sealer.seal(self.name, self.ballot, self._mine, self._hasher.digest())
        self.digests[self._mine.start] = seal
        if self.plan.streams_back:
            for peer in self.plan.members:
                if peer != self._me:
                    self._tools.links.send(peer, seal)


def _bytes_of(data: Tensor) -> memoryview:
    return memoryview(data.numpy())  # type: ignore[arg-type]  # numpy arrays are buffers
