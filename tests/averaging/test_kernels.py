"""C and numpy give the same bits: members of one group may differ in what they have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from marfl_peer.averaging import kernels
from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS
from marfl_peer.averaging.codecs.coder import Coder
from marfl_peer.averaging.codecs.layout import Layout, Section
from marfl_peer.averaging.codecs.registry import codec_named
from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.averaging.finite import is_finite
from marfl_peer.averaging.kernels import BITS, Bytes, Floats, Kernels, Left
from marfl_peer.averaging.strategies.mean import weighted_mean_


@pytest.fixture(scope="module", autouse=True)
def computed_by() -> None:
    """In place of what the other tests are asked of: here both are compared."""
    if kernels.native is None:
        pytest.skip("built without a compiler: there is only numpy")


every_codec = pytest.mark.parametrize("name", BITS)
MOST = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).tiny)
# Of all sizes, and few enough beyond what their differences can be that a sum of them is finite.
some = st.floats(-MOST / 8, MOST / 8, width=32)
like_updates = st.floats(-0.125, 0.125, width=32)


def native() -> Kernels:
    assert kernels.native is not None
    return kernels.native


@contextmanager
def numpy_alone() -> Iterator[None]:
    """As where there was no compiler."""
    before, kernels.native = kernels.native, None
    try:
        yield
    finally:
        kernels.native = before


def same(one: Floats, other: Floats) -> bool:
    """In every bit, zeros' signs included."""
    return np.array_equal(one.view(np.int32), other.view(np.int32))


def life(name: str, rounds: list[Floats], base: Floats) -> list[tuple[Bytes, Floats, Floats, Floats]]:
    """Each round is encoded against the base and with what the last one left over: (bytes, what its encoder has
    decoded, what others put on the base, what is left over)."""
    count = len(base)
    layout = Layout((Section(0, count, codec_named(name), is_delta=True),))
    residuals, seen = Residuals(), []
    for number, values in enumerate(rounds):
        coder = Coder(layout, base=torch.from_numpy(base), residuals=residuals, salt=f"run {number}")
        data = coder.encode_part(values, 0, count)
        decoded = coder.decode(data, 0, count)
        result = np.full(count, math.nan, np.float32)
        coder.decode_on_(result, data, 0, count)
        residuals = coder.left
        left = residuals.at(0)
        assert left is not None
        seen.append((data.copy(), decoded.copy(), result, left.numpy().copy()))
    return seen


def assert_both_agree(name: str, rounds: list[Floats], base: Floats) -> None:
    ours = life(name, rounds, base)
    with numpy_alone():
        theirs = life(name, rounds, base)
    for (data, *floats), (other_data, *other_floats) in zip(ours, theirs, strict=True):
        assert np.array_equal(data, other_data)
        assert all(same(one, other) for one, other in zip(floats, other_floats, strict=True))


def drawn_rounds(elements: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[Floats, list[Floats]]]:
    def of(count: int) -> st.SearchStrategy[tuple[Floats, list[Floats]]]:
        values = arrays("float32", count, elements=elements)
        return st.tuples(values, st.lists(values, min_size=1, max_size=3))

    return st.integers(1, 400).flatmap(of)


@every_codec
@given(drawn=drawn_rounds(some) | drawn_rounds(like_updates) | drawn_rounds(st.sampled_from([0.0, -0.0, TINY, 1e-45])))
def test_encoding_with_feedback_gives_the_same_bits(name: str, drawn: tuple[Floats, list[Floats]]) -> None:
    base, rounds = drawn
    assert_both_agree(name, rounds, base)


@every_codec
@pytest.mark.parametrize("count", [1, 127, 128, 129, 1000, MAX_SEGMENT_FLOATS - 1, MAX_SEGMENT_FLOATS])
def test_segments_of_any_size_give_the_same_bits(name: str, count: int) -> None:
    draw = np.random.default_rng(count)
    base = draw.standard_normal(count).astype(np.float32)
    scales = np.logspace(-30, 10, count).astype(np.float32)
    rounds = [base + scales * draw.standard_normal(count).astype(np.float32) for _ in range(3)]
    assert_both_agree(name, rounds, base)


@every_codec
@given(data=st.data())
def test_any_bytes_decode_to_the_same_values(name: str, data: st.DataObject) -> None:
    """Also those of a liar: not finite, too."""
    codec, count = codec_named(name), data.draw(st.integers(0, 300))
    size = codec.encoded_bytes(count)
    raw = torch.tensor(list(data.draw(st.binary(min_size=size, max_size=size))), dtype=torch.uint8)
    one, other = torch.full((count,), math.nan), torch.full((count,), math.nan)
    codec.decode(raw, one)
    with numpy_alone():
        codec.decode(raw, other)
    assert np.array_equal(one.numpy(), other.numpy(), equal_nan=True)


@every_codec
@given(data=st.data())
def test_codec_alone_gives_the_same_bytes(name: str, data: st.DataObject) -> None:
    codec = codec_named(name)
    values = torch.from_numpy(data.draw(arrays("float32", st.integers(0, 300), elements=some)))
    chances = torch.from_numpy(data.draw(arrays("float32", len(values), elements=st.floats(0, 0.9375, width=32))))
    outs = [torch.full((codec.encoded_bytes(len(values)),), 0xAA, dtype=torch.uint8) for _ in range(2)]
    codec.encode(values, outs[0], chances)
    with numpy_alone():
        codec.encode(values, outs[1], chances)
    assert torch.equal(*outs)


@given(data=st.data())
def test_means_have_the_same_bits(data: st.DataObject) -> None:
    of, count = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 5000))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    parts = [(draw.standard_normal(count) * 10 ** draw.uniform(-38, 38, count)).astype(np.float32) for _ in range(of)]
    weights = data.draw(st.lists(st.integers(1, 10**6), min_size=of, max_size=of))
    one, other, scratch = (np.full(count, math.nan, np.float32) for _ in range(3))
    weighted_mean_(one, parts, weights, scratch)
    with numpy_alone():
        weighted_mean_(other, parts, weights, scratch)
    assert same(one, other)
    weighted_mean_(parts[0], parts, weights, scratch)
    assert same(parts[0], one), "the mean may take the place of the first part"


def combined(
    coder: Coder, parts: list[Bytes | None], weights: list[int], own: Floats
) -> tuple[Bytes, Floats, Floats, bool]:
    """Of one segment by the kernel: (the mean's bytes, the result, what is left over, whether the mean is finite)."""
    result = np.full(len(own), math.nan, np.float32)
    data, was_finite = coder.combine_(result, parts, weights, own, 0, len(own))
    left = coder.left.at(0)
    assert left is not None
    return data, result, left.numpy(), was_finite


def combined_step_by_step(
    coder: Coder, parts: list[Bytes | None], weights: list[int], own: Floats
) -> tuple[Bytes, Floats, Floats, bool]:
    count = len(own)
    decoded = [coder.taken_off(own, 0, count) if part is None else coder.decode(part, 0, count) for part in parts]
    mean, scratch, result = (np.full(count, math.nan, np.float32) for _ in range(3))
    was_finite = weighted_mean_(mean, decoded, weights, scratch)
    data, kept = coder.encode_result(mean, 0)
    coder.put_on_(result, kept, 0, count)
    left = coder.left.at(0)
    assert left is not None
    return data, result, left.numpy(), was_finite


@every_codec
@pytest.mark.parametrize("is_delta", [True, False])
@given(data=st.data())
def test_parts_combined_as_they_came_give_the_same_bits(name: str, is_delta: bool, data: st.DataObject) -> None:
    """As if each was decoded, and their mean encoded; with the own part at any place among them, or at none."""
    of, count = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 400) | st.just(5000))
    own_place = data.draw(st.integers(0, of))
    weights = data.draw(st.lists(st.integers(1, 10**6), min_size=of, max_size=of))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    base = draw.standard_normal(count).astype(np.float32)
    layout = Layout((Section(0, count, codec_named(name), is_delta=is_delta),))
    seen: list[list[tuple[Bytes, Floats, Floats, bool]]] = [[], []]
    lefts = [Residuals(), Residuals()]

    def coder(salt: str, left: Residuals) -> Coder:
        return Coder(layout, base=torch.from_numpy(base), residuals=left, salt=salt)

    for number in range(2):
        vectors = [base + (0.01 * draw.standard_normal(count)).astype(np.float32) for _ in range(of + 1)]
        parts: list[Bytes | None] = [
            None if place == own_place else coder(str(place), Residuals()).encode_part(vectors[place], 0, count)
            for place in range(of)
        ]
        for side, combine in enumerate((combined, combined_step_by_step)):
            by = coder(f"run {number}", lefts[side])
            with numpy_alone() if side else nullcontext():
                assert by.combines(0) is not bool(side)
                seen[side].append(combine(by, parts, weights, vectors[own_place]))
            lefts[side] = by.left
    for (mean, *floats, was_finite), (other_mean, *other_floats, other_was_finite) in zip(*seen, strict=True):
        assert np.array_equal(mean, other_mean)
        assert all(same(one, other) for one, other in zip(floats, other_floats, strict=True))
        assert was_finite
        assert other_was_finite


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
@pytest.mark.parametrize("place", [0, 130, 299])
def test_sum_that_is_not_finite_is_told(bad: float, place: int) -> None:
    """By whoever sums: in C, by numpy, and of parts as they came."""
    values, scratch = np.ones(300, np.float32), np.empty(300, np.float32)
    wrong = values.copy()
    wrong[place] = bad
    out = np.empty(300, np.float32)
    assert weighted_mean_(out, [values, values], [1, 2], scratch)
    assert not weighted_mean_(out, [values, wrong], [1, 2], scratch)
    with numpy_alone():
        assert weighted_mean_(out, [values, values], [1, 2], scratch)
        assert not weighted_mean_(out, [values, wrong], [1, 2], scratch)
    layout = Layout((Section(0, 300, codec_named("bfloat16"), is_delta=True),))
    liar, honest = wrong.view(np.uint16)[1::2].copy().view(np.uint8), values.view(np.uint16)[1::2].copy().view(np.uint8)
    for part, own, is_finite_ in ((liar, values, False), (honest, wrong, False), (honest, values, True)):
        by = Coder(layout, base=torch.zeros(300), residuals=Residuals(), salt="run")
        assert by.combine_(out, [None, part], [1, 2], own, 0, 300)[1] is is_finite_


@example(values=np.array([MOST, -MOST, 0.0, TINY], np.float32))
@given(values=arrays("float32", st.integers(0, 300), elements=st.floats(width=32)))
def test_what_is_finite_is_so_for_both(values: Floats) -> None:
    with numpy_alone():
        expected = is_finite(values)
    assert is_finite(values) is expected is bool(np.isfinite(values).all())


@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 17, 2999])
def test_one_value_that_is_not_finite_is_found(bad: float, place: int) -> None:
    values = np.ones(3000, np.float32)
    values[place] = bad
    assert not native().is_finite(values)


def test_memory_of_another_size_is_refused() -> None:
    """Before anything is written: what a peer says of sizes was checked long before, so this is a mistake of ours."""
    values, short = np.ones(300, np.float32), np.ones(299, np.float32)
    out = np.empty(codec_named("int8").encoded_bytes(300), np.uint8)
    left = Left(np.empty((2, 128), np.int16), np.empty(2, np.float32), np.empty(44, np.float32))
    for wrong in (
        lambda: native().encode(8, values, short, None, values, out, None, None),
        lambda: native().encode(8, values, None, None, short, out, None, None),
        lambda: native().encode(8, values, None, None, values, out[:-1], None, None),
        lambda: native().encode(8, values, None, None, values, out, short, None),
        lambda: native().encode(8, values, None, None, values, out, None, left._replace(rest=left.rest[1:])),
        lambda: native().encode(8, values, None, left._replace(scales=left.scales[1:]), values, out, None, None),
        lambda: native().encode(5, values, None, None, values, out, None, None),
        lambda: native().decode(4, out, None, values),
        lambda: native().decode(8, out, short, values),
        lambda: native().combine(8, [None], [1.0], values, None, None, values, out[:-1], values, None),
        lambda: native().combine(8, [None], [1.0], values, None, None, values, out, short, None),
        lambda: native().combine(8, [None], [1.0], values, short, None, values, out, values, None),
        lambda: native().combine(8, [None], [1.0], values, None, None, short, out, values, None),
        lambda: native().combine(8, [out[:-1]], [1.0], values, None, None, values, out, values, None),
        lambda: native().combine(8, [None], [], values, None, None, values, out, values, None),
        lambda: native().combine(8, [None] * 129, [1.0] * 129, values, None, None, values, out, values, None),
        lambda: native().combine(
            8, [out], [1.0], values, None, left._replace(steps=left.steps[1:]), values, out, values, None
        ),
        lambda: native().combine(
            8, [out], [1.0], values, None, None, values, out, values, left._replace(rest=left.rest[1:])
        ),
        lambda: native().combine(5, [None], [1.0], values, None, None, values, out, values, None),
        lambda: native().mean(values, [short], [1.0]),
        lambda: native().mean(values, [], []),
        lambda: native().mean(values, [values], [0.5, 0.5]),
        lambda: native().is_finite(out[:3]),
    ):
        with pytest.raises(ValueError):
            wrong()
    assert (values == 1).all()


def test_memory_that_is_not_contiguous_or_only_to_be_read_is_refused() -> None:
    values, frozen = np.ones(300, np.float32), np.ones(300, np.float32)
    frozen.flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        native().is_finite(np.ones(600, np.float32)[::2])
    with pytest.raises((BufferError, ValueError)):
        native().mean(frozen, [values], [1.0])
    with pytest.raises(TypeError):
        native().mean(values, [values])  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        native().mean(values, [values], ["one"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        native().combine(8, [None], [1.0], values)  # type: ignore[call-arg]
    assert (frozen == 1).all()
