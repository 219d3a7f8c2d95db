"""Machines that store and forward, back to back."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import Ring, members_of, peer

from marfl_peer.errors import LocalProtocolError, RemoteProtocolError
from marfl_peer.lab.baselines.forwarding import WINDOW, ForwardingExchange, plan_forwarding
from marfl_peer.lab.baselines.passing import MaySend
from marfl_peer.protocol.exchange import Plan, Span
from marfl_peer.protocol.instructions import SendSpan


def plan_of(weights: list[int], length: int, segment_floats: int = 4) -> Plan:
    return dataclasses.replace(plan_forwarding(members_of(weights), length=length), segment_floats=segment_floats)


def value(index: int, span: Span) -> float:
    return 100.0 * index + span.start


@given(
    weights=st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    length=st.integers(0, 60),
    segment_floats=st.integers(1, 9),
    seed=st.integers(0, 2**16),
)
def test_everybody_ends_with_the_weighted_mean_in_the_order_of_the_cells(
    weights: list[int], length: int, segment_floats: int, seed: int
) -> None:
    plan = plan_of(weights, length, segment_floats)
    ring = Ring(plan, ForwardingExchange, value, seed=seed)
    ring.run()
    for place in ring.places.values():
        assert place.is_complete
        assert not place.parts  # nothing is kept
        assert place.means.keys() == set(plan.segments(Span(0, length)))
        for span, mean in place.means.items():
            assert mean == pytest.approx(ring.expected(span), rel=1e-12)
    assert len({tuple(sorted(place.means.items())) for place in ring.places.values()}) == 1


@pytest.mark.parametrize("count", range(1, 10))
def test_each_sends_a_vector_of_every_other_member(count: int) -> None:
    ring = Ring(plan_of([3] * count, 20), ForwardingExchange, value)
    ring.run()
    assert {place.sent_floats for place in ring.places.values()} == {(count - 1) * 20}


@pytest.mark.parametrize("weights", [[1] * 6, [1, 0, 1, 0, 0, 1], [0, 0, 0, 1, 1, 1]])
@pytest.mark.parametrize("seed", range(20))
def test_segments_do_not_pile_up(weights: list[int], seed: int) -> None:
    """Of 100 segments of each of the others a few are anywhere at a time."""
    ring = Ring(plan_of(weights, 100, 1), ForwardingExchange, value, seed=seed)
    ring.run()
    for place in ring.places.values():
        assert place.most_parts <= 2 * WINDOW * sum(map(bool, weights))


@pytest.mark.parametrize("count", range(1, 5))
def test_members_without_weight_send_nothing_and_are_through_when_all_are_ready(count: int) -> None:
    ring = Ring(plan_of([0] * count, 20), ForwardingExchange, value)
    ring.run()
    assert all(place.is_complete and not place.sent_floats and not place.means for place in ring.places.values())


def test_nothing_is_sent_to_a_neighbour_before_it_is_ready() -> None:
    machine = ForwardingExchange(peer(1), plan_of([1, 1, 1], 8, 4))
    assert machine.start() == [
        SendSpan(to=(peer(2),), stage="scatter", start=8, stop=12),  # the second member's vector begins at float 8
        SendSpan(to=(peer(2),), stage="scatter", start=12, stop=16),
    ]
    assert machine.ready(peer(0)) == []
    assert machine.ready(peer(2)) == [MaySend(to=peer(2))]


@pytest.mark.parametrize(
    ("sender", "stage", "placed"),
    [
        (2, "scatter", Span(16, 20)),  # from the right
        (0, "gather", Span(0, 4)),
        (0, "scatter", Span(8, 12)),  # this peer's own
        (0, "scatter", Span(0, 3)),  # no segment
        (0, "scatter", Span(6, 10)),  # of two vectors
        (0, "scatter", Span(24, 28)),  # of nobody
        (0, "scatter", Span(4 * 2**60, 4 * 2**60 + 4)),
    ],
)
def test_what_is_not_awaited_is_refused(sender: int, stage: str, placed: Span) -> None:
    machine = ForwardingExchange(peer(1), plan_of([1, 1, 1], 8, 4))
    machine.start()
    with pytest.raises(RemoteProtocolError, match="not awaited"):
        machine.admit(peer(sender), stage, placed)  # type: ignore[arg-type]  # a word of the wire


def test_exchange_without_this_peer_is_a_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        ForwardingExchange(peer(9), plan_of([1, 1], 9))
