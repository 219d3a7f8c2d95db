from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS
from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.errors import LocalProtocolError, RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.protocol import exchange
from marfl_peer.protocol.exchange import Exchange, Plan, Span, equal_spans, plan_exchange
from marfl_peer.protocol.frames import MAX_PAYLOAD_BYTES
from marfl_peer.protocol.instructions import CompleteExchange, ExchangeInstruction, Reduce, SendSpan, SignChunk
from marfl_peer.protocol.messages import Member, Seat

KINDS: tuple[ExchangeKind, ...] = ("butterfly", "all-gather")


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def member(number: int, *weights: int) -> Member:
    seats = tuple(Seat(cell=10 * number + i, weight=weight, sums=(), maxima=()) for i, weight in enumerate(weights))
    return Member(peer_id=peer(number), seats=seats, update_s=0.0)


def plan_of(weights: list[int], length: int, kind: ExchangeKind = "butterfly") -> Plan:
    return plan_exchange([member(i, weight) for i, weight in enumerate(weights)], length=length, kind=kind)


class Group:
    """All machines of one exchange; what is on its way arrives in a random order."""

    def __init__(self, plan: Plan, seed: int, *, are_apart: bool = False) -> None:
        """`are_apart`: nothing gets from one that owns nothing to another."""
        self.rng, self.plan, self.are_apart = random.Random(seed), plan, are_apart
        self.machines = {one: Exchange(one, plan) for one in plan.members}
        self.steps: dict[PeerId, list[ExchangeInstruction]] = {one: [] for one in plan.members}
        self.sent_floats: Counter[PeerId] = Counter()
        self.sent: Counter[tuple[PeerId, PeerId, str, Span]] = Counter()
        self.on_its_way: list[tuple[str, PeerId, PeerId, Span]] = []
        nothing = Span(0, 0)
        self.on_its_way += [("start", one, one, nothing) for one in plan.members]
        self.opened: set[PeerId] = set()
        self.awaited = {"start", "ready", "scatter", "gather"} | ({"digest"} if plan.streams_back else set())

    def complete(self) -> set[PeerId]:
        return {one for one, steps in self.steps.items() if CompleteExchange() in steps}

    def carry_out(self, me: PeerId, steps: list[ExchangeInstruction]) -> None:
        for step in steps:
            self.steps[me].append(step)
            if isinstance(step, SendSpan):
                assert self.opened.issuperset(step.to), "sent to a member that is not ready"
                for to, span in itertools.product(step.to, self.plan.segments(Span(step.start, step.stop))):
                    self.sent[me, to, step.stage, span] += 1
                    self.sent_floats[me] += span.length
                    self.on_its_way.append((step.stage, me, to, span))
            elif isinstance(step, SignChunk):
                assert self.opened == set(self.machines), "signed before all exchanges were open"
                self.on_its_way += [("digest", me, one, Span(0, 0)) for one in self.machines if one != me]

    def deliver(self) -> None:
        what, sender, to, span = self.on_its_way.pop(self.rng.randrange(len(self.on_its_way)))
        if self.are_apart and not self.concerns(sender, to):
            assert what == "ready"
            return
        machine = self.machines[to]
        match what:
            case "start":
                self.opened.add(to)
                self.carry_out(to, machine.start())
                self.on_its_way += [("ready", to, one, span) for one in self.machines if one != to]
            case "ready" | "digest" if to not in self.opened:
                # The shell keeps these until the exchange is open.
                self.on_its_way.append((what, sender, to, span))
            case "ready":
                self.carry_out(to, machine.ready(sender))
                assert machine.ready(sender) == []
            case "digest":
                self.carry_out(to, machine.digest_arrived(sender))
            case "scatter":
                machine.admit_parts(sender, [span])
                with pytest.raises(RemoteProtocolError):
                    machine.admit_parts(sender, [span])
                self.carry_out(to, machine.part_arrived(span))
                with pytest.raises(RemoteProtocolError):
                    machine.admit_parts(sender, [span])
            case "gather":
                machine.admit_results(sender, [span])
                with pytest.raises(RemoteProtocolError):
                    machine.admit_results(sender, [span])
                self.carry_out(to, machine.results_arrived(1))

    def run(self) -> None:
        while self.on_its_way:
            late = {to for what, sender, to, _ in self.on_its_way if what in self.awaited and self.concerns(sender, to)}
            assert not self.complete() & late, "complete before all had come"
            if self.complete() and self.plan.total_weight:
                assert self.opened == set(self.machines), "complete before everybody was ready"
            self.deliver()

    def concerns(self, sender: PeerId, to: PeerId) -> bool:
        """Whether one has anything to do with the other: two that own nothing may not even reach each other."""
        return sender == to or bool(self.plan.chunks[sender].length or self.plan.chunks[to].length)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_everybody_completes_when_everything_arrived_and_every_float_is_sent_once(
    size: int, kind: ExchangeKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "SEGMENT_FLOATS", 3)
    for seed, zeros in itertools.product(range(8), range(2**size)):
        weights = [0 if zeros >> i & 1 else i + 1 for i in range(size)]
        group = Group(plan_of(weights, 20, kind), seed)
        group.run()
        assert group.complete() == set(group.machines)
        assert set(group.sent.values()) <= {1}
        for steps in group.steps.values():
            assert steps.count(CompleteExchange()) == 1
        reduced = [[step for step in steps if isinstance(step, Reduce)] for steps in group.steps.values()]
        covered = sum(step.stop - step.start for steps in reduced for step in steps)
        assert covered == (0 if not any(weights) else 20 * (size if kind == "all-gather" else 1))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_bytes_sent_agree_with_the_formulas(size: int) -> None:
    length = 60
    for kind, expected in (("butterfly", 2 * (size - 1) / size * length), ("all-gather", (size - 1) * length)):
        group = Group(plan_of([1] * size, length, kind), seed=size)  # type: ignore[arg-type]
        group.run()
        assert [group.sent_floats[one] for one in group.machines] == [expected] * size


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_completes_as_long_as_one_member_is_not_ready(kind: ExchangeKind) -> None:
    for weights in ([1, 2, 3], [1, 2, 0], [0, 0, 0], [5, 0, 0]):
        for seed in range(20):
            group = Group(plan_of(weights, 9, kind), seed)
            # It completed another ballot, so that it never opens this one.
            group.on_its_way.remove(("start", peer(2), peer(2), Span(0, 0)))
            for _ in range(200):
                group.on_its_way = [one for one in group.on_its_way if one[2] != peer(2)]
                if not group.on_its_way:
                    break
                group.deliver()
            assert group.on_its_way == []
            assert group.complete() == set()


def test_exchange_of_one_is_complete_at_its_start() -> None:
    machine = Exchange(peer(0), plan_of([4], 10))
    assert machine.start() == [Reduce(start=0, stop=10), SignChunk(start=0, stop=10), CompleteExchange()]
    assert Exchange(peer(0), plan_of([0], 10)).start() == [CompleteExchange()]


def test_vector_shorter_than_the_group_leaves_some_without_a_chunk() -> None:
    group = Group(plan_of([1] * 5, 3), seed=1)
    group.run()
    assert group.complete() == set(group.machines)
    assert sorted(machine.mine.length for machine in group.machines.values()) == [0, 0, 1, 1, 1]


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_chunks_cover_the_vector_and_differ_by_one_float_at_most(length: int, parts: int) -> None:
    spans = equal_spans(length, parts)
    assert [span.start for span in spans[1:]] == [span.stop for span in spans[:-1]]
    assert (spans[0].start, spans[-1].stop) == (0, length)
    assert max(span.length for span in spans) - min(span.length for span in spans) <= 1


@given(st.integers(0, 500_000), st.integers(0, 500_000))
def test_segments_cover_a_span_in_order(start: int, length: int) -> None:
    at_most = exchange.SEGMENT_FLOATS
    segments = Span(start, start + length).segments(at_most)
    assert sum(segment.length for segment in segments) == length
    assert all(0 < segment.length <= at_most for segment in segments)
    assert [segment.start for segment in segments[1:]] == [segment.stop for segment in segments[:-1]]


def test_segments_are_short_where_a_link_is_slow() -> None:
    members = [member(1, 1), member(2, 1)]
    segments = {}
    for shares in ((), (900, 100)):
        plan = plan_exchange(members, length=10**6, kind="butterfly", shares=shares)
        segments[shares] = max(segment.length for segment in plan.segments(Span(0, 10**6)))
        assert 4 * segments[shares] * plan.run_segments == MAX_PAYLOAD_BYTES
    assert segments[900, 100] < segments[()]


@pytest.mark.parametrize("is_coded", [False, True])
def test_run_of_segments_fits_into_a_frame_and_encoded_ones_are_the_codecs_to_take(is_coded: bool) -> None:
    plan = plan_exchange([member(1, 1), member(2, 1)], length=10**6, kind="butterfly", is_coded=is_coded)
    longest = max(segment.length for segment in plan.segments(Span(0, 10**6)))
    assert 4 * longest * plan.run_segments == MAX_PAYLOAD_BYTES
    assert not is_coded or longest == MAX_SEGMENT_FLOATS


def test_borders_cut_segments_only_where_values_are_encoded() -> None:
    for is_coded, expected in ((False, 1), (True, 2)):
        plan = plan_exchange([member(1, 1)], length=100, kind="butterfly", is_coded=is_coded, borders=(33,))
        assert len(plan.segments(Span(0, 100))) == expected


def test_plan_of_a_group_that_meets_again_is_made_once_and_cannot_be_changed() -> None:
    again = [plan_exchange([member(1, 1), member(2, 3)], length=99, kind="butterfly", shares=[1, 2]) for _ in range(2)]
    assert again[0] is again[1]
    with pytest.raises(TypeError):
        again[0].chunks[PeerId("x")] = Span(0, 1)  # type: ignore[index]
    other = plan_exchange([member(1, 1), member(2, 4)], length=99, kind="butterfly", shares=[1, 2])
    assert other.weights == (1, 4)


def test_plan_keeps_the_order_of_members_and_sums_the_seats_of_each() -> None:
    plan = plan_exchange([member(3, 2, 5), member(1, 0), member(2, 4)], length=9, kind="butterfly")
    assert plan.members == (peer(3), peer(1), peer(2))
    assert plan.contributors == (peer(3), peer(2))
    assert plan.weights == (7, 4)
    assert plan.total_weight == 11
    assert plan.chunks[peer(1)] == Span(3, 6)


def test_shares_say_who_owns_what_and_a_chunk_may_be_empty() -> None:
    plan = plan_exchange([member(i, 1) for i in range(4)], length=10_240, kind="butterfly", shares=(400, 0, 600, 0))
    assert [plan.chunks[peer(i)] for i in range(4)] == [
        Span(0, 4096),
        Span(4096, 4096),
        Span(4096, 10_240),
        Span(10_240, 10_240),
    ]


@given(st.data(), st.integers(2, 5), st.integers(0, 5000), st.integers(0, 1000))
def test_members_with_unequal_chunks_complete_and_every_float_is_summed_once(
    data: st.DataObject, size: int, length: int, seed: int
) -> None:
    weights = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    cuts = sorted(data.draw(st.lists(st.integers(0, 1000), min_size=size - 1, max_size=size - 1)))
    shares = [stop - start for start, stop in itertools.pairwise([0, *cuts, 1000])]
    members = [member(number, weight) for number, weight in enumerate(weights)]
    plan = plan_exchange(members, length=length, kind="butterfly", shares=shares)
    group = Group(plan, seed)
    group.run()
    assert group.complete() == set(group.machines)
    reduced = [step for steps in group.steps.values() for step in steps if isinstance(step, Reduce)]
    assert sum(step.stop - step.start for step in reduced) == (length if any(weights) else 0)
    for number, share in enumerate(shares):
        if not share:
            chunk = plan.chunks[peer(number)]
            assert chunk.length == 0
            assert not [step for step in group.steps[peer(number)] if isinstance(step, Reduce | SignChunk)]


@pytest.mark.parametrize("weights", [(1, 2, 3, 4), (0, 2, 0, 4), (0, 0, 0, 0)])
def test_members_that_own_nothing_need_not_reach_each_other(weights: tuple[int, ...]) -> None:
    members = [member(number, weight) for number, weight in enumerate(weights)]
    plan = plan_exchange(members, length=5000, kind="butterfly", shares=(0, 1000, 0, 0))
    for seed in range(20):
        group = Group(plan, seed, are_apart=True)
        group.run()
        assert group.complete() == set(group.machines)
        pairs = {(sender, to) for sender, to, _, _ in group.sent}
        assert all(peer(1) in pair for pair in pairs)
        assert bool(pairs) == any(weights)


@pytest.mark.parametrize(
    ("sender", "start", "length"), [(1, 0, 2), (1, 1, 3), (1, 3, 3), (1, 0, 0), (0, 0, 3), (2, 0, 3), (9, 0, 3)]
)
def test_values_that_are_not_awaited_are_a_remote_error(sender: int, start: int, length: int) -> None:
    machine = Exchange(peer(0), plan_of([1, 1, 0], 9))
    with pytest.raises(RemoteProtocolError) as caught:
        machine.admit_parts(peer(sender), [Span(start, start + length)])
    assert caught.value.code == "bad_span"
    machine.admit_results(peer(1), [Span(3, 6)])
    if (sender, start) != (1, 3):
        with pytest.raises(RemoteProtocolError):
            machine.admit_results(peer(sender), [Span(start, start + length)])


def test_run_of_segments_is_admitted_as_a_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SEGMENT_FLOATS", 1)
    machine = Exchange(peer(0), plan_of([1, 1, 1], 9))
    first, second, third = machine.plan.segments(machine.mine)
    machine.admit_parts(peer(1), [third])
    with pytest.raises(RemoteProtocolError):
        machine.admit_parts(peer(1), [first, second, third])
    machine.admit_parts(peer(1), [first, second])
    machine.admit_parts(peer(2), [first, second, third])
    assert machine.part_arrived(first) == []
    assert machine.part_arrived(first) == [Reduce(start=0, stop=1)]


def test_no_values_are_awaited_where_all_weights_are_zero() -> None:
    machine = Exchange(peer(0), plan_of([0, 0], 8))
    with pytest.raises(RemoteProtocolError):
        machine.admit_results(peer(1), [Span(4, 8)])


def test_ready_of_a_stranger_or_of_oneself_is_ignored() -> None:
    machine = Exchange(peer(0), plan_of([1, 1], 8))
    assert machine.ready(peer(7)) == []
    assert machine.ready(peer(0)) == []


def test_exchange_that_leaves_this_peer_out_is_this_programs_fault() -> None:
    with pytest.raises(LocalProtocolError):
        Exchange(peer(9), plan_of([1, 1], 8))
