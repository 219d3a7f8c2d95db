"""One all-reduce among the members of one ballot: who sends which span to whom, and when it is over.

Butterfly: member k owns chunk k; everybody streams its part to each owner, owners combine and stream results back,
segment by segment. All-gather (the paper's): everybody owns everything and nothing is streamed back. The machine counts
spans; it never sees a byte. It completes only when every member was ready: who completed another ballot never is. Who
owns nothing has that from the owners.
Moshpit SGD (arXiv 2103.03239) section 3; MAR-FL (arXiv 2512.05234) Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.errors import LocalProtocolError, RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.protocol.frames import MAX_PAYLOAD_BYTES
from marfl_peer.protocol.instructions import (
    CompleteExchange,
    ExchangeInstruction,
    Reduce,
    SendSpan,
    SignChunk,
)
from marfl_peer.protocol.messages import Member
from marfl_peer.protocol.shares import cut

SEGMENT_FLOATS = 256 * 1024
"""What is combined and streamed back by itself: 1 MiB. Half as much takes some 4% longer on loopback; to combine more
would take longer than a callback may."""
SHORT_SEGMENT_FLOATS = 64 * 1024
"""Where a link is slow, since the last segment of all has it to itself."""
FAR_RUN_BYTES = 1024 * 1024


class Span(NamedTuple):
    """Floats [start, stop) of the vector."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    def segments(self, at_most: int, borders: Sequence[int] = ()) -> tuple[Span, ...]:
        """The pieces of at most so many floats; none crosses one of `borders`, which ascend."""
        return _cut(self, tuple(borders), at_most)


@lru_cache(maxsize=4096)  # the same in every iteration
def _cut(span: Span, borders: tuple[int, ...], at_most: int) -> tuple[Span, ...]:
    cuts = [span.start, *(border for border in borders if span.start < border < span.stop), span.stop]
    return tuple(
        Span(start, min(start + at_most, stop))
        for begin, stop in pairwise(cuts)
        for start in range(begin, stop, at_most)
    )


def equal_spans(length: int, parts: int) -> tuple[Span, ...]:
    """`length` floats cut into `parts` chunks that differ by at most one float."""
    cuts = [length * part // parts for part in range(parts + 1)]
    return tuple(Span(start, stop) for start, stop in pairwise(cuts))


def weight_of(member: Member) -> int:
    return sum(seat.weight for seat in member.seats)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a ballot means for everybody: chunks by owner, contributors in the order of their lowest cells. `borders`:
    between parts of the vector that are encoded in different ways. `segment_floats`: at most so many are a segment."""

    members: tuple[PeerId, ...]
    chunks: Mapping[PeerId, Span]
    contributors: tuple[PeerId, ...]
    weights: tuple[int, ...]
    streams_back: bool
    segment_floats: int
    borders: tuple[int, ...] = ()

    @property
    def total_weight(self) -> int:
        return sum(self.weights)

    @property
    def run_segments(self) -> int:
        """At most so many that follow each other travel as one frame, also as float32."""
        return MAX_PAYLOAD_BYTES // (4 * self.segment_floats)

    @property
    def far_run_segments(self) -> int:
        """The same where the path is not near: what else is to be said there waits for a frame longer."""
        return FAR_RUN_BYTES // (4 * self.segment_floats)

    def segments(self, span: Span) -> tuple[Span, ...]:
        return span.segments(self.segment_floats, self.borders)


def shared_spans(length: int, shares: Sequence[int]) -> tuple[Span, ...]:
    """`length` floats cut by the members' shares; a chunk may be empty."""
    return tuple(Span(start, stop) for start, stop in pairwise(cut(length, shares)))


def plan_exchange(
    members: Sequence[Member],
    *,
    length: int,
    kind: ExchangeKind,
    is_coded: bool = False,
    borders: tuple[int, ...] = (),
    shares: Sequence[int] = (),
) -> Plan:
    """The plan that all members derive from the same ballot. A member without weight contributes no bytes. `borders`
    matter where values are encoded."""
    weights = tuple((PeerId(member.peer_id), weight_of(member)) for member in members)
    segment_floats = SHORT_SEGMENT_FLOATS if shares else SEGMENT_FLOATS
    return _planned(weights, length, kind, borders if is_coded else (), tuple(shares), segment_floats)


@lru_cache(maxsize=64)  # the same in every iteration
def _planned(
    weights: tuple[tuple[PeerId, int], ...],
    length: int,
    kind: ExchangeKind,
    borders: tuple[int, ...],
    shares: tuple[int, ...],
    segment_floats: int,
) -> Plan:
    ids = tuple(peer for peer, _ in weights)
    whole = Span(0, length)
    equal = equal_spans(length, len(ids)) if kind == "butterfly" else (whole,) * len(ids)
    spans = shared_spans(length, shares) if shares else equal
    weighty = [(peer, weight) for peer, weight in weights if weight > 0]
    return Plan(
        members=ids,
        chunks=MappingProxyType(dict(zip(ids, spans, strict=True))),
        contributors=tuple(peer for peer, _ in weighty),
        weights=tuple(weight for _, weight in weighty),
        streams_back=kind == "butterfly",
        segment_floats=segment_floats,
        borders=borders,
    )


class Exchange:
    """One member's part in it. Feed it what arrived; carry out what it returns, in order."""

    def __init__(self, me: PeerId, plan: Plan) -> None:
        if me not in plan.chunks:
            raise LocalProtocolError("an exchange without this peer")
        self.me = me
        self.plan = plan
        self.mine = plan.chunks[me]
        others = [peer for peer in plan.members if peer != me]
        owning = [peer for peer in others if plan.chunks[peer].length]
        # Of two that own nothing neither has anything for the other, and they may not even reach each other: an owner
        # signs its chunk, and so lets its result count, only when everybody was ready.
        self._others = others if self.mine.length else owning or others
        self._is_idle = plan.total_weight == 0
        is_heard = not self._is_idle
        own, senders = plan.segments(self.mine), [peer for peer in plan.contributors if peer != me]
        self._parts_to_come = {peer: set(own) for peer in senders if is_heard}
        """The segments of each contribution that are not on their way yet."""
        self._missing_parts = dict.fromkeys(own, len(senders)) if is_heard else {}
        """How many parts have not arrived of each segment that is not combined yet."""
        owners = [peer for peer in self._others if plan.streams_back and plan.chunks[peer].length and is_heard]
        self._results_to_come = {peer: set(plan.segments(plan.chunks[peer])) for peer in owners}
        self._missing_results = sum(map(len, self._results_to_come.values()))
        self._missing_digests = set(owners)
        self._reduced: list[Span] = []
        self._ready: list[PeerId] = []
        self._signed = self.mine.length == 0 or self._is_idle
        self.is_complete = False

    def start(self) -> list[ExchangeInstruction]:
        """Reduces what needs nobody else."""
        whole = [segment for segment, missing in self._missing_parts.items() if not missing]
        return [step for segment in whole for step in self._reduce(segment)] + self._finish_if_whole()

    def ready(self, peer: PeerId) -> list[ExchangeInstruction]:
        """`peer` has its buffers: it may be sent to."""
        if peer in self._ready or peer not in self._others:
            return []
        self._ready.append(peer)
        steps: list[ExchangeInstruction] = []
        theirs = self.plan.chunks[peer]
        if self.me in self.plan.contributors and theirs.length:
            steps.append(SendSpan(to=(peer,), stage="scatter", start=theirs.start, stop=theirs.stop))
        if self.plan.streams_back:
            steps += [SendSpan(to=(peer,), stage="gather", start=s.start, stop=s.stop) for s in self._reduced]
        return steps + self._sign_if_due() + self._finish_if_whole()

    def admit_parts(self, sender: PeerId, segments: Sequence[Span]) -> None:
        """Segments of a contribution are about to arrive: once, also where there are two connections, or one would
        write into what is whole already. Raises: RemoteProtocolError where one of them is not awaited."""
        _admit(sender, segments, self._parts_to_come)

    def admit_results(self, sender: PeerId, segments: Sequence[Span]) -> None:
        """The same for segments of a result. Raises: RemoteProtocolError."""
        _admit(sender, segments, self._results_to_come)

    def part_arrived(self, segment: Span) -> list[ExchangeInstruction]:
        """An admitted one is there."""
        self._missing_parts[segment] -= 1
        return [] if self._missing_parts[segment] else self._reduce(segment) + self._finish_if_whole()

    def results_arrived(self, count: int) -> list[ExchangeInstruction]:
        """So many admitted ones are there."""
        self._missing_results -= count
        return [] if self._missing_results else self._finish_if_whole()

    def digest_arrived(self, sender: PeerId) -> list[ExchangeInstruction]:
        self._missing_digests.discard(sender)
        return self._finish_if_whole()

    def _reduce(self, segment: Span) -> list[ExchangeInstruction]:
        """All parts of a segment are there."""
        del self._missing_parts[segment]
        self._reduced.append(segment)
        start, stop = segment
        steps: list[ExchangeInstruction] = [Reduce(start=start, stop=stop)]
        if self.plan.streams_back and self._ready:
            steps.append(SendSpan(to=tuple(self._ready), stage="gather", start=start, stop=stop))
        return steps + self._sign_if_due()

    def _sign_if_due(self) -> list[ExchangeInstruction]:
        """The digest waits until everybody is ready: who has not opened its exchange would miss it."""
        if self._signed or self._missing_parts or len(self._ready) < len(self._others):
            return []
        self._signed = True
        return [SignChunk(start=self.mine.start, stop=self.mine.stop)]

    def _finish_if_whole(self) -> list[ExchangeInstruction]:
        awaited = self._missing_results or self._missing_parts or self._missing_digests
        if self.is_complete or awaited or len(self._ready) < len(self._others):
            return []
        self.is_complete = True
        return [CompleteExchange()]


def _admit(sender: PeerId, segments: Sequence[Span], to_come: Mapping[PeerId, set[Span]]) -> None:
    """Takes segments from those to come. Raises: RemoteProtocolError, and takes none, where one is not among them."""
    awaited = to_come.get(sender, set())
    if not awaited.issuperset(segments):
        text = f"floats {segments[0].start}..{segments[-1].stop} of {sender[:12]} are not awaited"
        raise RemoteProtocolError("bad_span", text)
    awaited.difference_update(segments)
