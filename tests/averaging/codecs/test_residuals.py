"""What encodings left over is kept in half the memory, as near as the values that are fed back are themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS, Codec, chances, encode_with_feedback
from marfl_peer.averaging.codecs.halves import BFLOAT16, FLOAT16
from marfl_peer.averaging.codecs.quantised import INT4, INT8
from marfl_peer.averaging.codecs.residuals import BLOCK, Residuals, steps_pool
from marfl_peer.averaging.codecs.sparse import TopK

CODECS: list[Codec] = [BFLOAT16, FLOAT16, INT8, INT4, TopK(1 / 16)]
TINY = torch.finfo(torch.float32).tiny
every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


def normal(count: int, seed: int = 7) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def kept(left: Tensor, *, start: int = 0, is_whole: bool = False) -> Tensor:
    residuals = Residuals(start + left.numel())
    residuals.keep(start, left.clone(), is_whole=is_whole)
    found = residuals.at(start)
    assert found is not None
    return found


def left_by(codec: Codec, values: Tensor, residual: Tensor | None = None, seed: int = 1) -> tuple[Tensor, Tensor]:
    """(what is decoded, what is left) of one encoding."""
    out, decoded = torch.empty(codec.encoded_bytes(values.numel()), dtype=torch.uint8), torch.empty_like(values)
    left = encode_with_feedback(codec, values, residual, out, chances(seed, values.numel()), decoded)
    return decoded, left


@every_codec
def test_what_any_codec_leaves_comes_back_as_near_as_the_values_are(codec: Codec) -> None:
    values = normal(1000) * torch.logspace(-6, 6, 1000)
    _, left = left_by(codec, values)
    largest = torch.nn.functional.pad(values, (0, -1000 % BLOCK)).view(-1, BLOCK).abs().amax(1)
    assert left.any()
    error = (kept(left, is_whole=codec.leaves_values) - left).abs()
    assert (error <= largest.repeat_interleave(BLOCK)[:1000] * 2.5e-6).all()


@every_codec
def test_nothing_is_lost_in_many_iterations(codec: Codec) -> None:
    """What was sent adds up to what was to be sent, but for the last residual: also of what is kept in steps."""
    values = normal(640, seed=3)
    sent, residual = torch.zeros(640, dtype=torch.float64), None
    for iteration in range(100):
        got, left = left_by(codec, values, residual, seed=1000 * iteration + 3)
        sent += got.double()
        residual = kept(left, is_whole=codec.leaves_values)
    assert residual is not None
    gap = sent + residual.double() - 100 * values.double()
    assert gap.abs().max() <= 1e-5 * 100 * values.abs().max()


def test_whole_values_that_are_small_beside_others_are_not_lost() -> None:
    """In steps of the largest, 1e-6 of it would be 0 in every iteration, and would never travel."""
    small = torch.full((BLOCK,), 1e-6)
    small[0] = 1.0
    assert torch.equal(kept(small, is_whole=True), small)
    assert not kept(small)[1:].any()


@given(
    left=arrays("float32", st.integers(0, 600), elements=st.floats(-(2.0**126), 2.0**126, width=32)),
    start=st.integers(0, 300),
)
def test_error_is_at_most_half_a_step_of_the_block(left: Tensor, start: int) -> None:
    left = torch.from_numpy(left)
    found = kept(left, start=start).double()
    body = left.numel() - left.numel() % BLOCK
    assert torch.equal(found[body:], left[body:].double())
    largest = left[:body].double().view(-1, BLOCK).abs().amax(1, keepdim=True)
    error = (found[:body] - left[:body].double()).view(-1, BLOCK).abs()
    assert (error <= largest / 65534 * 1.001 + 32768 * TINY).all()


def test_equal_segments_are_kept_equally_wherever_they_are() -> None:
    """Members of parallel lines have to feed the same back."""
    left = normal(1000)
    assert torch.equal(kept(left), kept(left.clone(), start=77))


def test_segments_that_begin_anywhere_do_not_disturb_each_other() -> None:
    lengths = [1, 127, 128, 129, 3, 256, 300, 5, 1000]
    starts = [sum(lengths[:place]) for place in range(len(lengths))]
    residuals, alone = Residuals(sum(lengths)), {}
    for place, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        left = normal(length, seed=place)
        is_whole = place % 4 == 3
        residuals.keep(start, left.clone(), is_whole=is_whole)
        alone[start] = kept(left, is_whole=is_whole)
    assert list(residuals) == starts
    for start in starts:
        found = residuals.at(start)
        assert found is not None
        assert torch.equal(found, alone[start])


def test_where_nothing_was_left_over_there_is_nothing() -> None:
    residuals = Residuals(500)
    residuals.keep(0, normal(200), is_whole=False)
    assert (residuals.at(200), len(residuals), len(Residuals())) == (None, 1, 0)


def test_memory_that_is_given_is_used_for_what_is_found() -> None:
    residuals, memory = Residuals(300), torch.full((400,), 7.0)
    residuals.keep(0, normal(300), is_whole=False)
    found = residuals.at(0, memory)
    assert found is not None
    assert found.data_ptr() == memory.data_ptr()
    assert torch.equal(found, kept(normal(300)))
    assert memory[300:].eq(7.0).all()


def test_what_is_found_is_the_callers_own_and_what_is_kept_a_copy() -> None:
    left, residuals = normal(200), Residuals(200)
    residuals.keep(0, left.clone(), is_whole=False)
    left.zero_()
    first, second = residuals.at(0), residuals.at(0)
    assert first is not None and second is not None
    first.zero_()
    assert second.any()
    assert torch.equal(second, kept(normal(200)))


@pytest.mark.parametrize("is_whole", [False, True])
def test_segments_that_are_missing_are_taken_from_those_before_bit_for_bit(is_whole: bool) -> None:
    before, now = Residuals(700), Residuals(700)
    for start, seed in ((0, 1), (300, 2)):
        before.keep(start, normal(300, seed), is_whole=is_whole)
    now.keep(300, normal(300, 3), is_whole=is_whole)
    now.fill_up(before)
    for start, seed in ((0, 1), (300, 3)):
        found = now.at(start)
        assert found is not None
        assert torch.equal(found, kept(normal(300, seed), is_whole=is_whole))


def test_residuals_take_half_the_memory_of_their_values() -> None:
    residuals = Residuals(MAX_SEGMENT_FLOATS)
    residuals.keep(0, normal(MAX_SEGMENT_FLOATS), is_whole=False)
    arrays_kept = [value for value in vars(residuals).values() if isinstance(value, np.ndarray | Tensor)]
    assert sum(array.nbytes for array in arrays_kept) == MAX_SEGMENT_FLOATS * (2 + 4 / BLOCK)


@pytest.mark.parametrize("value", [0.0, 1e-45, TINY, 1e-35])
def test_blocks_of_next_to_nothing_are_kept_as_finite_ones(value: float) -> None:
    found = kept(torch.full((BLOCK,), value))
    assert torch.isfinite(found).all()
    assert (found - value).abs().max() <= 32768 * TINY


def test_memory_of_the_steps_goes_back_to_the_pool_it_came_from() -> None:
    pool = steps_pool(301)
    residuals = Residuals(301, pool)
    residuals.keep(0, normal(301), is_whole=False)
    assert len(pool) == 0
    assert residuals.at(0) is not None
    del residuals
    assert len(pool) == 1
    again = Residuals(301, pool)
    again.keep(0, normal(301, 8), is_whole=False)
    assert len(pool) == 0
    found = again.at(0)
    assert found is not None
    assert torch.allclose(found, normal(301, 8), atol=1e-4)
