"""Machines of a ring, back to back: every number of members, every order of arrival that links allow."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import Ring, members_of, peer

from marfl_peer.errors import LocalProtocolError, RemoteProtocolError
from marfl_peer.lab.baselines.passing import Add, MaySend
from marfl_peer.lab.baselines.ring import RingExchange, plan_ring
from marfl_peer.protocol.exchange import Plan, Span
from marfl_peer.protocol.instructions import CompleteExchange, SendSpan


def plan_of(weights: list[int], length: int, segment_floats: int = 4) -> Plan:
    return dataclasses.replace(plan_ring(members_of(weights), length=length), segment_floats=segment_floats)


def value(index: int, span: Span) -> float:
    return 100.0 * index + span.start


@given(
    weights=st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    length=st.integers(0, 60),
    segment_floats=st.integers(1, 9),
    seed=st.integers(0, 2**16),
)
def test_everybody_ends_with_the_weighted_mean(weights: list[int], length: int, segment_floats: int, seed: int) -> None:
    plan = plan_of(weights, length, segment_floats)
    ring = Ring(plan, RingExchange, value, seed=seed)
    ring.run()
    for place in ring.places.values():
        assert place.is_complete
        assert place.means.keys() == {span for chunk in plan.chunks.values() for span in plan.segments(chunk)}
        for span, mean in place.means.items():
            assert mean == pytest.approx(ring.expected(span), rel=1e-12)
    assert len({tuple(sorted(place.means.items())) for place in ring.places.values()}) == 1


@pytest.mark.parametrize("count", range(1, 10))
def test_each_sends_the_vector_nearly_twice_whatever_the_number_of_members(count: int) -> None:
    length = 12 * count
    ring = Ring(plan_of([3] * count, length), RingExchange, value)
    ring.run()
    assert {place.sent_floats for place in ring.places.values()} == {2 * (count - 1) * length // count}


@pytest.mark.parametrize("count", range(1, 5))
def test_members_without_weight_send_nothing_and_are_through_when_all_are_ready(count: int) -> None:
    ring = Ring(plan_of([0] * count, 20), RingExchange, value)
    ring.run()
    assert all(place.is_complete and not place.sent_floats and not place.means for place in ring.places.values())


def test_member_that_is_alone_is_through_at_once() -> None:
    steps = RingExchange(peer(0), plan_of([5], 6, 6)).start()
    assert steps[0] == Add(start=0, stop=6, is_first=True, is_last=True)
    assert steps[-1] == CompleteExchange()


def test_nothing_is_sent_to_a_neighbour_before_it_is_ready() -> None:
    machine = RingExchange(peer(0), plan_of([1, 1, 1], 9, 3))
    assert machine.start() == [
        Add(start=6, stop=9, is_first=True, is_last=False),  # the chunk of the left neighbour, peer 2
        SendSpan(to=(peer(1),), stage="scatter", start=6, stop=9),
    ]
    assert machine.ready(peer(2)) == []
    assert machine.ready(peer(1)) == [MaySend(to=peer(1))]
    assert machine.ready(peer(1)) == []


@pytest.mark.parametrize(
    ("sender", "stage", "span"),
    [
        (1, "scatter", Span(0, 3)),  # from the right
        (2, "scatter", Span(6, 9)),  # begins here
        (2, "scatter", Span(0, 2)),  # no segment
        (2, "scatter", Span(9, 12)),  # beyond the end
        (2, "gather", Span(0, 3)),  # its own chunk
        (2, "gather", Span(3, 6)),  # before its sum has passed
        (1, "gather", Span(6, 9)),
    ],
)
def test_what_is_not_awaited_is_refused(sender: int, stage: str, span: Span) -> None:
    machine = RingExchange(peer(0), plan_of([1, 1, 1], 9, 3))
    machine.start()
    with pytest.raises(RemoteProtocolError, match="not awaited"):
        machine.admit(peer(sender), stage, span)  # type: ignore[arg-type]  # a word of the wire


def test_ring_without_this_peer_is_a_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        RingExchange(peer(9), plan_of([1, 1], 9))
