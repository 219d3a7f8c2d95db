"""Others' parts of this peer's chunk, from when they are there until they are combined.

Knows in which memory a part lies and when that is free again; not whose turn it is, nor what becomes of the values.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from marfl_peer.averaging.buffers import Segment, SegmentPool
from marfl_peer.averaging.strategies.mean import Values
from marfl_peer.ids import PeerId
from marfl_peer.protocol.exchange import Span


@dataclass(slots=True, kw_only=True)
class _Stretch:
    """Floats [start, stop) of one member, in memory of a pool; `left`: how many of them are yet to be combined."""

    start: int
    stop: int
    memory: Segment
    pool: SegmentPool
    left: int


class Arrivals:
    """What came in one frame lies together. What is combined together must lie together at every member, so that a
    span may have to be combined in pieces: `together` says how far one goes."""

    def __init__(self) -> None:
        self._of: dict[PeerId, list[_Stretch]] = {}

    def put(self, sender: PeerId, span: Span, memory: Segment, pool: SegmentPool) -> None:
        """That sender's floats of the span are there, at the front of `memory`, which goes back to `pool`."""
        stretch = _Stretch(start=span.start, stop=span.stop, memory=memory, pool=pool, left=span.length)
        self._of.setdefault(sender, []).append(stretch)

    def together(self, senders: Collection[PeerId], span: Span) -> Span:
        """The longest front of a span, all of which is there, that lies together at each of the senders."""
        return Span(span.start, min([span.stop, *(self._at(sender, span.start).stop for sender in senders)]))

    def values(self, sender: PeerId, span: Span) -> Values:
        """Its floats of a span that lies together."""
        stretch = self._at(sender, span.start)
        return stretch.memory.array[span.start - stretch.start : span.stop - stretch.start]

    def combined(self, senders: Collection[PeerId], span: Span) -> None:
        """Nobody needs these any more."""
        for sender in senders:
            stretch = self._at(sender, span.start)
            stretch.left -= span.length
            if not stretch.left:
                self._of[sender].remove(stretch)
                stretch.pool.give_back(stretch.memory)

    def _at(self, sender: PeerId, start: int) -> _Stretch:
        return next(stretch for stretch in self._of[sender] if stretch.start <= start < stretch.stop)
