"""The ring all-reduce of one ballot: sums travel round the ring, and then results do.

The vector is cut into as many chunks as there are members. The sum of chunk k begins right of its owner k, each member
adds its share, and with the owner, who comes last, it is the mean. From there the result goes round to everybody. Each
member sends 2 (N - 1) / N of the vector, whatever N is. Patarasuk and Yuan, Journal of Parallel and Distributed
Computing 69 (2009). Counts spans; never sees a byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.lab.baselines.passing import Add, CheckChunk, Passing, PassingInstruction, Stage
from marfl_peer.protocol.exchange import SHORT_SEGMENT_FLOATS, Plan, Span, plan_exchange
from marfl_peer.protocol.instructions import CompleteExchange, SignChunk
from marfl_peer.protocol.messages import Member


def plan_ring(members: Sequence[Member], *, length: int) -> Plan:
    """Chunks as in a butterfly; short segments, since each is there as a whole before it is passed on."""
    plan = plan_exchange(members, length=length, kind="butterfly")
    return replace(plan, segment_floats=SHORT_SEGMENT_FLOATS)


class RingExchange:
    """One member's part in it. Feed it what arrived; carry out what it returns, in order."""

    def __init__(self, me: PeerId, plan: Plan) -> None:
        self.plan = plan
        self.mine = plan.chunks[me] if me in plan.chunks else Span(0, 0)
        self._neighbours = neighbours = Passing(me, plan.members)
        self._me, self._is_idle = me, plan.total_weight == 0
        self._is_alone = len(plan.members) == 1
        left, right = neighbours.left, neighbours.right
        self._owners = {span: peer for peer in plan.members for span in plan.segments(plan.chunks[peer])}
        self._sums = {span for span, owner in self._owners.items() if owner != left and not self._is_alone}
        """Whose sums are still to come; those of the left neighbour's chunk begin here."""
        self._results = {span for span, owner in self._owners.items() if owner != me}
        self._to_pass_on = {span for span in self._results if self._owners[span] != right}
        self._on_their_way: set[tuple[Stage, Span]] = set()
        self._missing = {peer: plan.segments(chunk) for peer, chunk in plan.chunks.items() if peer != me}
        self._lacking = {peer: len(spans) for peer, spans in self._missing.items() if spans}
        """By owner, how many segments of its result are still to come."""
        self._digests_due = set(self._lacking)
        self._own_sums = len(plan.segments(self.mine))
        self._signed = not self._own_sums
        self.is_complete = False

    def start(self) -> list[PassingInstruction]:
        """Begins the sums of the left neighbour's chunk."""
        if self._is_idle:
            return self._finish_if_whole()
        steps: list[PassingInstruction] = []
        for span in self.plan.segments(self.plan.chunks[self._neighbours.left]):
            steps += self._add(span, is_first=True)
        return steps + self._finish_if_whole()

    def ready(self, peer: PeerId) -> list[PassingInstruction]:
        """`peer` has its buffers: it may be sent to."""
        return [*self._neighbours.ready(peer), *self._sign_if_due(), *self._finish_if_whole()]

    def admit(self, sender: PeerId, stage: Stage, span: Span) -> None:
        """A segment is about to arrive, once. Raises: RemoteProtocolError where it is not awaited."""
        awaited = self._sums if stage == "scatter" else self._results
        is_early = stage == "gather" and span in self._sums  # it would overwrite the sum
        is_welcome = sender == self._neighbours.left and span in awaited and not is_early
        if self._is_idle or not is_welcome or (stage, span) in self._on_their_way:
            text = f"floats {span.start}..{span.stop} of {sender[:12]} are not awaited"
            raise RemoteProtocolError("bad_span", text)
        self._on_their_way.add((stage, span))

    def arrived(self, stage: Stage, span: Span) -> list[PassingInstruction]:
        """A segment that was admitted is there."""
        if stage == "scatter":
            self._sums.remove(span)
            return self._add(span, is_first=False) + self._finish_if_whole()
        self._results.remove(span)
        steps: list[PassingInstruction] = []
        if span in self._to_pass_on:
            steps.append(self._neighbours.on("gather", span))
        owner = self._owners[span]
        self._lacking[owner] -= 1
        return steps + self._check_if_whole(owner) + self._finish_if_whole()

    def digest_arrived(self, sender: PeerId) -> list[PassingInstruction]:
        """An owner's word about its chunk, which it gives everybody itself."""
        if sender not in self._digests_due:
            return []
        self._digests_due.remove(sender)
        return self._check_if_whole(sender) + self._finish_if_whole()

    def _add(self, span: Span, *, is_first: bool) -> list[PassingInstruction]:
        is_last = self._owners[span] == self._me
        steps: list[PassingInstruction] = [Add(start=span.start, stop=span.stop, is_first=is_first, is_last=is_last)]
        if is_last:
            self._own_sums -= 1
        if not self._is_alone:
            steps.append(self._neighbours.on("gather" if is_last else "scatter", span))
        return steps + self._sign_if_due()

    def _check_if_whole(self, owner: PeerId) -> list[PassingInstruction]:
        is_due = self._lacking[owner] == 0 and owner not in self._digests_due
        return [CheckChunk(owner=owner)] if is_due else []

    def _sign_if_due(self) -> list[PassingInstruction]:
        """The digest waits until everybody is ready: who has not opened its exchange would miss it."""
        if self._is_idle or self._signed or self._own_sums or not self._neighbours.all_are_ready:
            return []
        self._signed = True
        return [SignChunk(start=self.mine.start, stop=self.mine.stop)]

    def _finish_if_whole(self) -> list[PassingInstruction]:
        awaited = not self._neighbours.all_are_ready
        if not self._is_idle:
            awaited = awaited or bool(self._sums or self._results or self._digests_due or self._own_sums)
        if self.is_complete or awaited:
            return []
        self.is_complete = True
        return [CompleteExchange()]
