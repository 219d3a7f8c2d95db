"""Parts lie where they came until they are combined, and their memory goes back once, when all of it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from marfl_peer.averaging.buffers import SegmentPool
from marfl_peer.ids import PeerId
from marfl_peer.peer.arrivals import Arrivals
from marfl_peer.protocol.exchange import Span

ONE, OTHER = PeerId("1" * 40), PeerId("2" * 40)
BOTH = [ONE, OTHER]


@pytest.fixture
def pool() -> SegmentPool:
    return SegmentPool(100)


def put(arrivals: Arrivals, pool: SegmentPool, sender: PeerId, *borders: int) -> None:
    """Floats from border to border, each of them its own place in the vector."""
    for start, stop in itertools.pairwise(borders):
        memory = pool.take()
        memory.array[: stop - start] = np.arange(start, stop)
        arrivals.put(sender, Span(start, stop), memory, pool)


def test_span_lies_together_as_far_as_it_came_in_one_at_each_sender(pool: SegmentPool) -> None:
    arrivals = Arrivals()
    put(arrivals, pool, ONE, 0, 30, 50)
    put(arrivals, pool, OTHER, 0, 10, 50)
    assert arrivals.together(BOTH, Span(0, 50)) == Span(0, 10)
    assert arrivals.together(BOTH, Span(10, 50)) == Span(10, 30)
    assert arrivals.together(BOTH, Span(30, 50)) == Span(30, 50)
    assert arrivals.together(BOTH, Span(30, 40)) == Span(30, 40)
    assert arrivals.together([ONE], Span(5, 50)) == Span(5, 30)


def test_span_that_needs_nobody_lies_together() -> None:
    assert Arrivals().together([], Span(3, 9)) == Span(3, 9)


def test_values_are_those_of_the_span_wherever_they_lie(pool: SegmentPool) -> None:
    arrivals = Arrivals()
    put(arrivals, pool, OTHER, 20, 50)
    put(arrivals, pool, ONE, 30, 50)
    put(arrivals, pool, ONE, 0, 30)
    assert arrivals.values(ONE, Span(10, 13)).tolist() == [10, 11, 12]
    assert arrivals.values(ONE, Span(30, 32)).tolist() == [30, 31]
    assert arrivals.values(OTHER, Span(48, 50)).tolist() == [48, 49]


def test_memory_goes_back_when_all_of_it_is_combined_in_whatever_order(pool: SegmentPool) -> None:
    arrivals = Arrivals()
    put(arrivals, pool, ONE, 0, 30)
    put(arrivals, pool, OTHER, 0, 20, 30)
    arrivals.combined(BOTH, Span(20, 30))
    assert len(pool) == 1
    arrivals.combined(BOTH, Span(0, 5))
    assert len(pool) == 1
    assert arrivals.values(ONE, Span(5, 7)).tolist() == [5, 6]
    arrivals.combined(BOTH, Span(5, 20))
    assert len(pool) == 3


def test_memory_goes_back_to_the_pool_that_it_is_of(pool: SegmentPool) -> None:
    arrivals, another = Arrivals(), SegmentPool(100)
    put(arrivals, pool, ONE, 0, 30)
    put(arrivals, another, OTHER, 0, 30)
    arrivals.combined([OTHER], Span(0, 30))
    assert (len(pool), len(another)) == (0, 1)
