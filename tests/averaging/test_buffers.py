"""The pool hands out what it was given, once, and nothing of another length."""

from __future__ import annotations

import pytest
import torch

from marfl_peer.averaging.buffers import BufferPool


def test_take_from_an_empty_pool_makes_a_float32_vector() -> None:
    vector = BufferPool(7).take()
    assert (vector.shape, vector.dtype, vector.device.type) == ((7,), torch.float32, "cpu")


def test_take_after_give_returns_the_same_memory() -> None:
    pool = BufferPool(5)
    vector = pool.take()
    pool.give(vector)
    assert pool.take().data_ptr() == vector.data_ptr()


def test_take_never_returns_memory_that_is_out() -> None:
    pool = BufferPool(5)
    out = [pool.take() for _ in range(3)]
    pool.give(out[0])
    again = [pool.take(), pool.take()]
    assert len({vector.data_ptr() for vector in [*out[1:], *again]}) == 4


def test_give_twice_hands_it_out_once() -> None:
    pool = BufferPool(5)
    vector = pool.take()
    pool.give(vector)
    pool.give(vector)
    assert pool.take().data_ptr() != pool.take().data_ptr()


def test_give_keeps_no_more_than_it_was_told_to() -> None:
    pool = BufferPool(5, keep=2)
    given = [torch.zeros(5) for _ in range(4)]
    for vector in given:
        pool.give(vector)
    kept = {vector.data_ptr() for vector in given[:2]}
    assert {pool.take().data_ptr(), pool.take().data_ptr()} == kept
    assert pool.take().data_ptr() not in {vector.data_ptr() for vector in given}


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
    pool.give(vectors.pop())
    del vectors
    assert len(pool) == 2


def test_give_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="6 floats"):
        BufferPool(5).give(torch.zeros(6))
