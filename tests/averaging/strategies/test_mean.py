"""The weighted mean: exact to rounding, in the order given, and the same bits however the vector is cut."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.averaging.strategies.mean import weighted_mean_
from marfl_peer.config import MAX_WEIGHT

weight_lists = st.lists(st.integers(min_value=1, max_value=MAX_WEIGHT), min_size=1, max_size=6)


def parts_of(count: int, length: int, seed: int) -> list[torch.Tensor]:
    """Values of very different sizes, so that every other order of additions rounds otherwise somewhere."""
    generator = torch.Generator().manual_seed(seed)
    scale = 10 ** torch.randint(-6, 6, (count, length), generator=generator).float()
    return list(torch.randn(count, length, generator=generator) * scale)


def mean_of(parts: list[torch.Tensor], weights: list[int]) -> torch.Tensor:
    out = torch.empty_like(parts[0])
    scratch = np.empty(parts[0].numel() + 3, np.float32)
    weighted_mean_(out.numpy(), [part.numpy() for part in parts], weights, scratch)
    return out


@given(weights=weight_lists, length=st.integers(1, 300), seed=st.integers(0, 2**31))
def test_mean_is_that_of_double_precision_to_rounding(weights: list[int], length: int, seed: int) -> None:
    parts = parts_of(len(weights), length, seed)
    exact = sum(part.double() * weight for part, weight in zip(parts, weights, strict=True)) / sum(weights)
    room = sum(part.double().abs() * weight for part, weight in zip(parts, weights, strict=True)) / sum(weights)
    assert bool(((mean_of(parts, weights).double() - exact).abs() <= 1e-6 * room + 1e-38).all())


@given(
    weights=weight_lists,
    length=st.integers(1, 300),
    seed=st.integers(0, 2**31),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_mean_has_the_same_bits_however_it_is_cut(weights: list[int], length: int, seed: int, cuts: list[int]) -> None:
    parts = parts_of(len(weights), length, seed)
    edges = sorted({0, length, *(cut for cut in cuts if cut < length)})
    pieces = [mean_of([part[start:stop] for part in parts], weights) for start, stop in itertools.pairwise(edges)]
    assert torch.equal(torch.cat(pieces), mean_of(parts, weights))


@given(weights=weight_lists, length=st.integers(1, 100), shift=st.integers(1, 7), seed=st.integers(0, 2**31))
def test_mean_does_not_depend_on_where_the_memory_lies(weights: list[int], length: int, shift: int, seed: int) -> None:
    parts = parts_of(len(weights), length, seed)
    shifted = [torch.cat([torch.zeros(shift), part])[shift:] for part in parts]
    assert torch.equal(mean_of(shifted, weights), mean_of(parts, weights))


def test_mean_sums_in_the_order_given() -> None:
    parts = parts_of(3, 2000, seed=1)
    first = (parts[0] * (1 / 3)).add_(parts[1] * (1 / 3)).add_(parts[2] * (1 / 3))
    assert torch.equal(mean_of(parts, [1, 1, 1]), first)
    assert not torch.equal(mean_of([parts[1], parts[2], parts[0]], [1, 1, 1]), first)


def test_mean_of_one_is_itself_whatever_its_weight() -> None:
    (part,) = parts_of(1, 500, seed=2)
    for weight in (1, 7, MAX_WEIGHT):
        assert torch.equal(mean_of([part], [weight]), part)


def test_mean_of_equal_parts_with_huge_weights_stays_finite() -> None:
    part = torch.full((10,), torch.finfo(torch.float32).max / 4)
    mean = mean_of([part] * 4, [MAX_WEIGHT] * 4)
    assert torch.equal(mean, part)


def test_mean_with_a_light_and_a_heavy_part_is_close_to_the_heavy_one() -> None:
    light, heavy = torch.full((4,), 2.0), torch.full((4,), 1.0)
    mean = mean_of([light, heavy], [1, MAX_WEIGHT])
    assert torch.allclose(mean, heavy, rtol=0, atol=1e-7)


def test_mean_may_be_written_over_the_first_part() -> None:
    parts = parts_of(3, 100, seed=3)
    expected = mean_of([part.clone() for part in parts], [3, 1, 2])
    arrays = [part.numpy() for part in parts]
    weighted_mean_(arrays[0], arrays, [3, 1, 2], np.empty(100, np.float32))
    assert torch.equal(parts[0], expected)


def test_mean_leaves_the_other_parts_alone() -> None:
    parts = parts_of(3, 100, seed=4)
    before = [part.clone() for part in parts]
    mean_of(parts, [3, 1, 2])
    assert all(torch.equal(part, old) for part, old in zip(parts, before, strict=True))


def test_mean_is_bit_for_bit_that_of_torch_and_quiet_about_what_is_not_finite() -> None:
    odd = torch.tensor([0x7F800001], dtype=torch.int32).view(torch.float32)  # a NaN that signals
    one = torch.cat([torch.tensor([math.inf, math.nan, 3e38, 1e-45, -0.0]), odd, torch.randn(1000)])
    other = torch.cat([torch.tensor([-math.inf, 1.0, 3e38, 1e-45, -0.0]), odd, torch.randn(1000)])
    weights = [MAX_WEIGHT, 3]
    expected = (one * (weights[0] / sum(weights))).add_(other * (weights[1] / sum(weights)))
    assert torch.equal(torch.nan_to_num(mean_of([one, other], weights)), torch.nan_to_num(expected))
    assert torch.equal(mean_of([one, other], weights).isnan(), expected.isnan())
