"""RDFL's exchange of one ballot: every member's vector travels round the ring, N - 1 hops, stored and forwarded; and
everybody combines all of them for itself, segment by segment, in the order of the cells.

A segment is named by its place in the members' vectors, one behind the other in the order of the ballot. A member sends
a segment of its own only a window after the last one that it combined, so that at most 2 windows of segments of each
member lie anywhere at a time, not N vectors. Counts spans; never sees a byte. MAR-FL (arXiv 2512.05234), baselines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.lab.baselines.passing import Passing, PassingInstruction, Stage
from marfl_peer.protocol.exchange import Plan, Span, plan_exchange
from marfl_peer.protocol.instructions import CompleteExchange, Reduce, SignChunk
from marfl_peer.protocol.messages import Member

SEGMENT_FLOATS = 16 * 1024
"""64 KiB: small, because many members' lie about at a time."""
WINDOW = 4
"""Segments that a member sends ahead of what it has combined: as long as they go round its link is busy."""


def plan_forwarding(members: Sequence[Member], *, length: int) -> Plan:
    """Everybody owns everything."""
    return replace(plan_exchange(members, length=length, kind="all-gather"), segment_floats=SEGMENT_FLOATS)


class ForwardingExchange:
    """One member's part in it. Feed it what arrived; carry out what it returns, in order."""

    def __init__(self, me: PeerId, plan: Plan) -> None:
        self.plan = plan
        self.mine = next(iter(plan.chunks.values()))
        self._neighbours = Passing(me, plan.members)
        self._me, self._is_idle = me, plan.total_weight == 0
        self._segments = plan.segments(self.mine)
        self._own = list(reversed(self._segments)) if me in plan.contributors else []
        """Still to be sent, the first one last."""
        if len(plan.members) == 1:
            self._own = []
        others = {peer for peer in plan.contributors if peer != me}
        self._missing = {span: set(others) for span in self._segments}
        """Of the segments that are not combined yet."""
        self._on_their_way: set[tuple[PeerId, Span]] = set()
        self._sent = self._combined = 0
        self._signed = False
        self.is_complete = False

    def start(self) -> list[PassingInstruction]:
        """Sends the first segments of its own, and combines what needs nobody else."""
        if self._is_idle:
            return self._finish_if_whole()
        whole = [span for span, missing in self._missing.items() if not missing]
        steps = self._send_own()
        for span in whole:
            steps += self._reduce(span)
        return steps + self._finish_if_whole()

    def ready(self, peer: PeerId) -> list[PassingInstruction]:
        """`peer` has its buffers: it may be sent to."""
        return [*self._neighbours.ready(peer), *self._finish_if_whole()]

    def origin(self, placed: Span) -> tuple[PeerId, Span] | None:
        """Whose segment that is, and which of the vector; None where there is none in that place."""
        number, start = divmod(placed.start, max(self.mine.stop, 1))
        if number >= len(self.plan.members):
            return None
        span = Span(start, start + placed.length)
        return (self.plan.members[number], span) if span in self._missing else None

    def placed(self, origin: PeerId, span: Span) -> Span:
        """Where that segment lies among all members' vectors."""
        begin = self.plan.members.index(origin) * self.mine.stop
        return Span(begin + span.start, begin + span.stop)

    def admit(self, sender: PeerId, stage: Stage, placed: Span) -> None:
        """A segment is about to arrive, once. Raises: RemoteProtocolError where it is not awaited."""
        found = self.origin(placed)
        is_awaited = found is not None and found[0] in self._missing[found[1]] and found not in self._on_their_way
        if self._is_idle or sender != self._neighbours.left or stage != "scatter" or not is_awaited:
            text = f"floats {placed.start}..{placed.stop} of {sender[:12]} are not awaited"
            raise RemoteProtocolError("bad_span", text)
        assert found is not None
        self._on_their_way.add(found)

    def arrived(self, stage: Stage, placed: Span) -> list[PassingInstruction]:
        """A segment that was admitted is there."""
        found = self.origin(placed)
        assert found is not None
        origin, span = found
        self._on_their_way.remove(found)
        steps: list[PassingInstruction] = []
        if origin != self._neighbours.right:
            steps.append(self._neighbours.on("scatter", placed))
        missing = self._missing[span]
        missing.remove(origin)
        if not missing:
            steps += self._reduce(span)
        return steps + self._finish_if_whole()

    def digest_arrived(self, sender: PeerId) -> list[PassingInstruction]:
        """Nobody waits for one: everybody combines for itself."""
        return []

    def _reduce(self, span: Span) -> list[PassingInstruction]:
        del self._missing[span]
        self._combined += 1
        return [Reduce(start=span.start, stop=span.stop), *self._send_own()]

    def _send_own(self) -> list[PassingInstruction]:
        steps: list[PassingInstruction] = []
        while self._own and self._sent < self._combined + WINDOW:
            self._sent += 1
            steps.append(self._neighbours.on("scatter", self.placed(self._me, self._own.pop())))
        return steps

    def _finish_if_whole(self) -> list[PassingInstruction]:
        awaited = not self._neighbours.all_are_ready or (bool(self._missing) and not self._is_idle)
        if self.is_complete or awaited:
            return []
        self.is_complete = True
        signs = self.mine.length and not self._is_idle
        sign: list[PassingInstruction] = [SignChunk(start=0, stop=self.mine.stop)] if signs else []
        return [*sign, CompleteExchange()]
