"""The pool hands out what came back, once."""

from __future__ import annotations

import torch

from marfl_peer.averaging.buffers import BufferPool, SegmentPool


def test_take_from_an_empty_pool_makes_a_float32_vector() -> None:
    vector = BufferPool(7).take()
    assert (vector.shape, vector.dtype, vector.device.type) == ((7,), torch.float32, "cpu")


def test_take_never_returns_memory_that_is_out() -> None:
    pool = BufferPool(5)
    out = [pool.take() for _ in range(3)]
    at = out.pop(0).data_ptr()
    again = [pool.take(), pool.take()]
    assert len({vector.data_ptr() for vector in [*out, *again]}) == 4
    assert again[0].data_ptr() == at, "what came back last is what the processor's caches still know"


def test_memory_comes_back_when_nothing_refers_to_it_any_more() -> None:
    pool = BufferPool(5)
    vector = pool.take()
    at = vector.data_ptr()
    part = vector[1:3]
    view = memoryview(vector.numpy()).cast("B")  # type: ignore[arg-type]  # arrays are buffers
    del vector
    assert pool.take().data_ptr() != at
    del part
    assert len(pool) == 1, "that of the one taken meanwhile"
    assert len(view) == 20
    del view
    assert len(pool) == 2
    assert at in {pool.take().data_ptr(), pool.take().data_ptr()}


def test_no_more_memory_is_kept_than_the_pool_was_told_to() -> None:
    pool = BufferPool(5, keep=2)
    vectors = [pool.take() for _ in range(4)]
    del vectors
    assert len(pool) == 2


def test_segment_is_one_memory_x() -> None:
    segment = SegmentPool(5).take()
    segment.memory[:] = bytes(memoryview(torch.arange(5.0).numpy()).cast("B"))  # type: ignore[arg-type]  # see above
    assert segment.array.tolist() == [0, 1, 2, 3, 4]


def test_segment_is_out_until_it_is_given_back_and_a_lost_one_is_never_in_again() -> None:
    pool = SegmentPool(5, keep=2)
    out = [pool.take() for _ in range(4)]
    assert len({segment.array.ctypes.data for segment in out}) == 4
    pool.give_back(out[0])
    assert pool.take() is out[0], "what came back last is what the processor's caches still know"
    for segment in out[:3]:
        pool.give_back(segment)
    assert len(pool) == 2
    assert all(pool.take() is not out[3] for _ in range(3))
