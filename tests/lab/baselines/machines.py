"""All machines of one exchange round a ring, back to back: what is on its way between two neighbours arrives in order,
everything else in any. Values are numbers: a segment's is that of its first float."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.lab.baselines.passing import Add, CheckChunk, MaySend, PassingInstruction, Stage
from marfl_peer.lab.baselines.passing_transfer import PassingMachine
from marfl_peer.protocol.exchange import Plan, Span
from marfl_peer.protocol.instructions import CompleteExchange, Reduce, SendSpan, SignChunk
from marfl_peer.protocol.messages import Member, Seat


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def members_of(weights: Sequence[int]) -> list[Member]:
    return [
        Member(peer_id=peer(i), seats=(Seat(cell=i, weight=weight, sums=(), maxima=()),), update_s=0.0)
        for i, weight in enumerate(weights)
    ]


@dataclass
class Place:
    """One member: its machine, and the memory that a shell would have."""

    machine: PassingMachine
    sums: dict[Span, float] = field(default_factory=dict)
    """As the memory of the result: sums on their way, then means."""
    parts: dict[Span, float] = field(default_factory=dict)
    means: dict[Span, float] = field(default_factory=dict)
    outbox: list[tuple[Span, float]] | None = field(default_factory=list)
    """What waits for the right neighbour; None when that is ready."""
    is_open: bool = False
    is_complete: bool = False
    sent_floats: int = 0
    most_parts: int = 0


class Ring:
    """`values(index, span)` is what a member brings for a segment of the vector."""

    def __init__(
        self,
        plan: Plan,
        make: Callable[[PeerId, Plan], PassingMachine],
        values: Callable[[int, Span], float],
        *,
        seed: int = 0,
    ) -> None:
        self.plan, self.values, self.rng = plan, values, random.Random(seed)
        self.places = {one: Place(make(one, plan)) for one in plan.members}
        self.shares = Counter(dict(zip(plan.contributors, plan.weights, strict=True)))
        self.links: dict[tuple[PeerId, PeerId, str], deque[tuple[Span | None, float]]] = {}
        for one in plan.members:
            self._send(one, one, "start")

    def run(self) -> None:
        """Until nothing is on its way."""
        while open_links := [key for key, queue in self.links.items() if queue and self._may_arrive(key)]:
            sender, to, what = self.rng.choice(sorted(open_links))
            span, value = self.links[sender, to, what].popleft()
            self._arrive(sender, to, what, span, value)
        assert not any(self.links.values())

    def _may_arrive(self, key: tuple[PeerId, PeerId, str]) -> bool:
        _, to, what = key
        return what == "start" or self.places[to].is_open  # the shell keeps what comes before that

    def _send(self, sender: PeerId, to: PeerId, what: str, span: Span | None = None, value: float = 0.0) -> None:
        self.links.setdefault((sender, to, what), deque()).append((span, value))

    def _arrive(self, sender: PeerId, to: PeerId, what: str, span: Span | None, value: float) -> None:
        place, machine = self.places[to], self.places[to].machine
        match what:
            case "start":
                place.is_open = True
                self._carry_out(to, machine.start())
                for other in self.plan.members:
                    if other != to:
                        self._send(to, other, "ready")
            case "ready":
                self._carry_out(to, machine.ready(sender))
            case "digest":
                self._carry_out(to, machine.digest_arrived(sender))
            case _:
                assert span is not None
                stage, floats = _unpacked(what, span)
                machine.admit(sender, stage, floats)
                with pytest.raises(RemoteProtocolError):
                    machine.admit(sender, stage, floats)
                memory = place.sums if self.plan.streams_back else place.parts
                memory[floats] = value
                place.most_parts = max(place.most_parts, len(place.parts))
                self._carry_out(to, machine.arrived(stage, floats))
                with pytest.raises(RemoteProtocolError):
                    machine.admit(sender, stage, floats)

    def _carry_out(self, me: PeerId, steps: list[PassingInstruction]) -> None:
        place, index, total = self.places[me], self.plan.members.index(me), max(self.plan.total_weight, 1)
        for step in steps:
            assert not place.is_complete or isinstance(step, SendSpan), "more to do after the end"
            match step:
                case SendSpan():
                    span = Span(step.start, step.stop)
                    place.sent_floats += span.length
                    # one queue for both stages: they share a connection
                    packed = span if step.stage == "scatter" else Span(-span.stop, -span.start)
                    (right,) = step.to
                    if place.outbox is None:
                        self._send(me, right, "floats", packed, self._payload(me, span))
                    else:
                        place.outbox.append((packed, self._payload(me, span)))
                case MaySend():
                    assert self.places[step.to].is_open, "sent to a member that is not ready"
                    assert place.outbox is not None
                    for packed, value in place.outbox:
                        self._send(me, step.to, "floats", packed, value)
                    place.outbox = None
                case Add():
                    span = Span(step.start, step.stop)
                    before = 0.0 if step.is_first else place.sums[span]
                    place.sums[span] = before + self.values(index, span) * self.shares[me] / total
                    if step.is_last:
                        place.means[span] = place.sums[span]
                case Reduce():
                    span = Span(step.start, step.stop)
                    place.means[span] = self._combined(me, span)
                case SignChunk():
                    assert all(one.is_open for one in self.places.values())
                    if self.plan.streams_back:
                        for other in self.plan.members:
                            if other != me:
                                self._send(me, other, "digest")
                case CheckChunk():
                    for span in self.plan.segments(self.plan.chunks[step.owner]):
                        place.means[span] = place.sums[span]
                        assert place.means[span] == self.places[step.owner].means[span]
                case CompleteExchange():
                    assert not place.is_complete
                    place.is_complete = True

    def _payload(self, me: PeerId, span: Span) -> float:
        place = self.places[me]
        if self.plan.streams_back:
            return place.sums[span]
        if span in place.parts:
            return place.parts[span]
        index, start = divmod(span.start, place.machine.mine.stop)
        assert self.plan.members[index] == me
        return self.values(index, Span(start, start + span.length))

    def _combined(self, me: PeerId, span: Span) -> float:
        place, length = self.places[me], self.places[me].machine.mine.stop
        mean = 0.0
        for one, weight in zip(self.plan.contributors, self.plan.weights, strict=True):
            index = self.plan.members.index(one)
            placed = Span(index * length + span.start, index * length + span.stop)
            part = self.values(index, span) if one == me else place.parts.pop(placed)
            mean += part * weight / self.plan.total_weight
        return mean

    def expected(self, span: Span) -> float:
        pairs = zip(self.plan.contributors, self.plan.weights, strict=True)
        brought = [(self.values(self.plan.members.index(one), span), weight) for one, weight in pairs]
        return sum(value * weight for value, weight in brought) / self.plan.total_weight


def _unpacked(what: str, span: Span) -> tuple[Stage, Span]:
    assert what == "floats"
    if span.start < 0 or span.stop <= 0:
        return "gather", Span(-span.stop, -span.start)
    return "scatter", span
