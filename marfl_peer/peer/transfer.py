"""One ballot's exchange on the wire: the machine says which span goes where, this moves the memory.

Parts are read straight into their place, combined segment by segment as they come, and results stream back. Where
values are encoded, owners encode a result once, and everybody keeps what is decoded from it, the owner, too. Nothing
here decides who is a member or when to give up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np
from torch import Tensor

from marfl_peer.averaging.buffers import BufferPool, Segment, SegmentPool
from marfl_peer.averaging.codecs.coder import Coder
from marfl_peer.averaging.codecs.float32 import BYTES_A_VALUE, as_bytes
from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.averaging.digest import Hasher
from marfl_peer.averaging.finite import first_not_finite, is_finite
from marfl_peer.averaging.kernels import Bytes
from marfl_peer.averaging.strategies.mean import Values, weighted_mean_
from marfl_peer.averaging.strategies.registry import Strategy
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.links import Links
from marfl_peer.peer.seals import Sealer
from marfl_peer.protocol.exchange import Exchange, Plan, Span
from marfl_peer.protocol.frames import Room
from marfl_peer.protocol.instructions import CompleteExchange, ExchangeInstruction, Reduce, SendSpan, SignChunk
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName, Part

PIECE_FLOATS = 64 * 1024
"""What is combined, tested and hashed before the next: so many of everybody stay in a processor's cache meanwhile."""

LONGEST_PIECE_FLOATS = 256 * 1024
"""So many values of a result are taken at once: a callback must not take long, since the loop does nothing else."""

Stage = Literal["scatter", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferTools:
    """What every transfer of a peer uses. `segments` and `scratch` have room for a segment each."""

    links: Links
    pool: BufferPool
    segments: SegmentPool
    strategy: Strategy
    sealer: Sealer
    scratch: Values


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
        self._machine = Exchange(me, plan)
        self._mine = self._machine.mine
        self._segments = {
            segment.start: segment for chunk in {*plan.chunks.values()} for segment in plan.segments(chunk)
        }
        self._coder = coder
        self._coded = frozenset(() if coder is None else filter(coder.encodes, self._segments))
        """Where segments begin that are anything but the vector's own bytes on the wire."""
        self._sizes: dict[int, int] = {}
        """Of encoded segments, in bytes, by where they begin."""
        self._encoded: dict[tuple[Stage, PeerId, int], Bytes] = {}
        """This peer's own segments as they travel."""
        self._parts: dict[tuple[PeerId, int], Segment] = {}
        """Others' segments of this peer's chunk, until they are combined; where values are encoded what was decoded,"""
        self._encoded_parts: dict[tuple[PeerId, int], Bytes] = {}
        """or what is to be decoded when they are combined."""
        self._contribution_bytes, self._result_bytes = as_bytes(contribution), as_bytes(result)
        self._contribution_values, self._result_values = contribution.numpy(), result.numpy()
        self._hasher = Hasher()
        self._hashed_to = self._mine.start
        self._unhashed: dict[int, int] = {}
        """Begin and end of what was combined out of turn."""
        self._on_complete, self._on_culprit = on_complete, on_culprit
        self._outboxes: dict[PeerId, deque[tuple[Stage, Span]]] = {}
        self._seals: dict[PeerId, ChunkDigest] = {}
        """The own chunk's digest, for those to whom it goes with the last of their outbox."""
        self._held_up: dict[PeerId, Connection] = {}
        """To whom more is sent as soon as the connection takes it."""
        self._aborted = self._is_settled = False

    @property
    def members(self) -> tuple[PeerId, ...]:
        return self.plan.members

    def start(self) -> None:
        self._carry_out(self._machine.start())

    def abort(self) -> None:
        """Stops; what arrives from now on is no longer for this transfer."""
        self._aborted = True

    def settle(self) -> None:
        """The line is over here. If that is by this exchange, what was encoded is needed until it is sent, no longer,
        and what rounding left over is kept elsewhere."""
        self._is_settled = self._machine.is_complete
        self._let_go()

    def _let_go(self) -> None:
        if self._is_settled and not any(self._outboxes.values()):
            self._encoded.clear()
            if self._coder is not None:
                self._coder.let_go()

    # what arrives

    def ready(self, peer: PeerId) -> None:
        self._carry_out(self._machine.ready(peer))

    def room(self, sender: PeerId, part: Part, length: int) -> Room:
        """Where the payload of a part belongs: some segments that follow each other. Raises: RemoteProtocolError."""
        start, odd = divmod(part.offset, BYTES_A_VALUE)
        run = () if odd else self._run(start, length)
        if not run:
            raise RemoteProtocolError("bad_span", f"{length} bytes from {part.offset} are no segments of the exchange")
        if part.stage == "scatter":
            self._machine.admit_parts(sender, run)
            if start in self._coded:
                return Room(self._coded_parts(sender, run))
            return Room(self._plain_parts(sender, run))
        self._machine.admit_results(sender, run)
        if start in self._coded:
            return Room(self._coded_results(sender, run))
        return Room(self._plain_results(sender, self._pieces(sender, run)))

    def _run(self, start: int, length: int) -> tuple[Span, ...]:
        """The segments that one frame of `length` bytes brings from float `start` on; none where it brings no whole
        ones."""
        run: list[Span] = []
        is_coded, end, most = start in self._coded, 0, self.plan.run_segments
        while end < length and len(run) < most:
            span = self._segments.get(start)
            if span is None or (start in self._coded) != is_coded:
                return ()
            end += self._size(span)
            run.append(span)
            start = span.stop
        return tuple(run) if end == length else ()

    def _pieces(self, sender: PeerId, run: Sequence[Span]) -> Sequence[Sequence[Span]]:
        """What of a run of results is waited for before it is tested. On one machine as much as a callback may take:
        what costs time in Python, with the processor's caches full of others' values, goes by the piece."""
        connection = self._tools.links.connection(sender)
        if connection is None or not connection.is_local:
            return [[span] for span in run]
        pieces: list[list[Span]] = []
        for span in run:
            if not pieces or span.stop - pieces[-1][0].start > LONGEST_PIECE_FLOATS:
                pieces.append([])
            pieces[-1].append(span)
        return pieces

    # Pieces of a run: what stands behind a `yield` is done when the piece is there.

    def _plain_parts(self, sender: PeerId, run: Sequence[Span]) -> Iterator[memoryview]:
        """Combined segment by segment, so that sums go out while others come in, and no callback takes long."""
        for span in run:
            segment = self._tools.segments.take()
            yield segment.memory[: BYTES_A_VALUE * span.length]
            if not self._aborted:
                self._parts[sender, span.start] = segment
                self._carry_out(self._machine.part_arrived(span))

    def _plain_results(self, sender: PeerId, pieces: Iterable[Sequence[Span]]) -> Iterator[memoryview]:
        for piece in pieces:
            start, stop = piece[0].start, piece[-1].stop
            yield self._result_bytes[BYTES_A_VALUE * start : BYTES_A_VALUE * stop]
            self._results_arrived(sender, piece)

    def _coded_parts(self, sender: PeerId, run: Sequence[Span]) -> Iterator[memoryview]:
        """Decoded at once, where that can fail: it is the sender's fault."""
        assert self._coder is not None
        for span in run:
            encoded = np.empty(self._size(span), np.uint8)
            yield encoded.data
            if self._aborted:
                continue
            if self._is_combined_encoded(span):
                self._encoded_parts[sender, span.start] = encoded
            else:
                segment = self._tools.segments.take()
                self._coder.decode_(segment.array[: span.length], encoded, span.start)
                self._parts[sender, span.start] = segment
            self._carry_out(self._machine.part_arrived(span))

    def _coded_results(self, sender: PeerId, run: Sequence[Span]) -> Iterator[memoryview]:
        assert self._coder is not None
        for span in run:
            encoded = np.empty(self._size(span), np.uint8)
            yield encoded.data
            if not self._aborted:
                self._coder.decode_on_(self._result_values, encoded, span.start, span.stop)
                self._results_arrived(sender, [span])

    def _results_arrived(self, sender: PeerId, run: Sequence[Span]) -> None:
        if self._aborted:
            return
        if not is_finite(self._result_values[run[0].start : run[-1].stop]):
            # An honest owner seeks out who sent it such values; it does not pass them on.
            self._aborted = True
            self._on_culprit(sender)
            return
        self._carry_out(self._machine.results_arrived(len(run)))

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
                    self._on_complete()

    def _reduce(self, span: Span) -> None:
        """Combines what all contributors sent of a segment."""
        if self._is_combined_encoded(span):
            self._combine_encoded(span)
            return
        contributors = self.plan.contributors
        others = {peer: self._parts.pop((peer, span.start)) for peer in contributors if peer != self._me}
        length = span.length
        parts = [self._own(span) if peer == self._me else others[peer].array[:length] for peer in contributors]
        self._combine(span, parts)
        for segment in others.values():
            self._tools.segments.give_back(segment)

    def _combine(self, span: Span, parts: Sequence[Values]) -> None:
        """Piece after piece, so that what was just written is tested and hashed out of the processor's cache."""
        weights, strategy, scratch = self.plan.weights, self._tools.strategy, self._tools.scratch
        is_coded = span.start in self._coded
        out = np.empty(span.length, np.float32) if is_coded else self._result_values[span.start : span.stop]
        for begin in range(0, span.length, PIECE_FLOATS):
            piece = slice(begin, begin + PIECE_FLOATS)
            if not strategy(out[piece], [part[piece] for part in parts], weights, scratch) and self._has_culprit(parts):
                return
            if not is_coded:
                self._hash(span.start + begin, min(span.start + begin + PIECE_FLOATS, span.stop))
        if is_coded:
            self._put(self._encode_result(out, span) if self.plan.streams_back else out, span)
            self._hash(span.start, span.stop)

    def _has_culprit(self, parts: Sequence[Values]) -> bool:
        """Whether one of the contributors sent what is not finite: with it the exchange is over."""
        culprit = first_not_finite(parts)
        if culprit is None:
            return False
        self._aborted = True
        self._on_culprit(self.plan.contributors[culprit])
        return True

    def _queue(self, step: SendSpan) -> None:
        segments = [(step.stage, segment) for segment in self.plan.segments(Span(step.start, step.stop))]
        for peer in step.to:
            outbox = self._outboxes.get(peer)
            if outbox is None:
                outbox = self._outboxes[peer] = deque()
            if not outbox:
                # Not at once: what else this turn of the loop brings may go along.
                asyncio.get_running_loop().call_soon(self._pump, peer)
            outbox.extend(segments)

    def _pump(self, peer: PeerId) -> None:
        """Sends what is queued for a peer, as long as the connection takes it."""
        connection, outbox = self._tools.links.connection(peer), self._outboxes[peer]
        while outbox and connection is not None and not self._aborted:
            if not connection.is_writable:
                if self._held_up.get(peer) is not connection:
                    self._held_up[peer] = connection
                    connection.when_writable(partial(self._pump_on, peer))
                return
            stage, first = outbox[0]
            run = self._front(outbox, self.plan.run_segments if connection.is_near else self.plan.far_run_segments)
            part = Part(name=self.name, ballot=self.ballot, stage=stage, offset=first.start * BYTES_A_VALUE)
            payload = self._payload(stage, run)
            for _ in run:
                outbox.popleft()
            connection.send(part, *payload, then=None if outbox else self._seals.pop(peer, None))
            if outbox and first.start in self._coded:
                asyncio.get_running_loop().call_soon(self._pump, peer)  # encoding took a while
                return
        self._let_go()

    def _pump_on(self, peer: PeerId) -> None:
        self._held_up.pop(peer, None)
        self._pump(peer)

    def _front(self, outbox: deque[tuple[Stage, Span]], at_most: int) -> list[Span]:
        """The segments at the front that may travel as one frame."""
        stage, first = outbox[0]
        run = [first]
        is_coded = first.start in self._coded
        if is_coded and stage == "scatter":
            return run  # is yet to be encoded: one at a time
        for other, span in islice(outbox, 1, at_most):
            if other != stage or span.start != run[-1].stop or (span.start in self._coded) != is_coded:
                break
            run.append(span)
        return run

    def _payload(self, stage: Stage, run: list[Span]) -> list[memoryview]:
        """Segments of this peer's, which follow each other, as they travel."""
        if run[0].start in self._coded:
            if stage == "scatter":
                for segment in run:
                    self._encode_own(segment)
            return [self._encoded[stage, self._me, segment.start].data for segment in run]
        memory = self._contribution_bytes if stage == "scatter" else self._result_bytes
        return [memory[BYTES_A_VALUE * run[0].start : BYTES_A_VALUE * run[-1].stop]]

    # where values are encoded

    def _size(self, span: Span) -> int:
        """Of a segment as it travels, in bytes."""
        if self._coder is None or span.start not in self._coded:
            return BYTES_A_VALUE * (span.stop - span.start)
        size = self._sizes.get(span.start)
        if size is None:
            size = self._sizes[span.start] = self._coder.encoded_bytes(span.start, span.stop)
        return size

    def _put(self, values: Values, span: Span) -> None:
        assert self._coder is not None
        self._coder.put_on_(self._result_values, values, span.start, span.stop)

    def _is_combined_encoded(self, span: Span) -> bool:
        """Whether what others sent of a segment is decoded, averaged and encoded again in one go."""
        coder, is_mean = self._coder, self._tools.strategy is weighted_mean_
        return coder is not None and is_mean and self.plan.streams_back and coder.combines(span.start)

    def _combine_encoded(self, span: Span) -> None:
        assert self._coder is not None
        start, stop = span
        mine, contributors = self._contribution_values, self.plan.contributors
        parts = [None if peer == self._me else self._encoded_parts.pop((peer, start)) for peer in contributors]
        encoded, was_finite = self._coder.combine_(self._result_values, parts, self.plan.weights, mine, start, stop)
        if not was_finite and self._has_culprit(
            [self._own(span) if part is None else self._coder.decode(part, start, stop) for part in parts]
        ):
            return
        self._encoded["gather", self._me, start] = encoded
        self._hash(start, stop)

    def _encode_own(self, span: Span) -> Bytes:
        """This peer's part of a segment, encoded once."""
        assert self._coder is not None
        key: tuple[Stage, PeerId, int] = ("scatter", self._me, span.start)
        encoded = self._encoded.get(key)
        if encoded is None:
            encoded = self._coder.encode_part(self._contribution_values, span.start, span.stop)
            self._encoded[key] = encoded
        return encoded

    def _own(self, span: Span) -> Values:
        """What this peer itself brings to a segment that it combines."""
        if self._coder is None or span.start not in self._coded:
            return self._contribution_values[span.start : span.stop]
        if self.plan.streams_back:
            return self._coder.taken_off(self._contribution_values, span.start, span.stop)
        # everybody combines for itself, and must combine the same
        return self._coder.decode(self._encode_own(span), span.start, span.stop)

    def _encode_result(self, mean: Values, span: Span) -> Values:
        """Encodes what this peer combined; returns what everybody decodes from it."""
        assert self._coder is not None
        encoded, decoded = self._coder.encode_result(mean, span.start)
        self._encoded["gather", self._me, span.start] = encoded
        return decoded

    def left_over(self) -> Residuals:
        """What rounding left over of every segment that this peer encoded."""
        return Residuals() if self._coder is None else self._coder.left

    def _hash(self, start: int, stop: int) -> None:
        """Takes what was just combined of the own chunk into its digest, now that it is in the processor's cache."""
        self._unhashed[start] = stop
        while (end := self._unhashed.pop(self._hashed_to, None)) is not None:
            self._hasher.update(self._result_bytes[BYTES_A_VALUE * self._hashed_to : BYTES_A_VALUE * end])
            self._hashed_to = end

    def _sign(self) -> None:
        """The own chunk is combined: tells everybody who waits for its digest, behind the last of the chunk itself."""
        seal = self._tools.sealer.seal(self.name, self.ballot, self._mine, self._hasher.digest())
        self.digests[self._mine.start] = seal
        if self.plan.streams_back:
            for peer in self.plan.members:
                if peer == self._me:
                    continue
                if self._outboxes.get(peer) and self._tools.links.is_connected(peer):
                    self._seals[peer] = seal
                    self._pump(peer)
                else:
                    self._tools.links.send(peer, seal)
