from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from marfl_peer.averaging.disagreement import disagreement
from marfl_peer.averaging.sketch import sketch


def vector(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_sketch_is_the_same_on_every_machine() -> None:
    assert sketch(torch.arange(1.0, 11.0), seed=7, size=3) == (-14.0, -1.0, 0.0)


@given(count=st.integers(0, 400), size=st.integers(1, 80), seed=st.integers(0, 2**63 - 1))
def test_sketch_of_any_length_sums_every_element_once(count: int, size: int, seed: int) -> None:
    theta = vector(count)
    # With as many sums as elements, each sum is one element with its sign.
    signed = torch.tensor(sketch(theta, seed=seed, size=max(count, 1))[:count], dtype=torch.float64)
    assert torch.equal(signed.abs(), theta.double().abs())
    expected = torch.zeros(size, dtype=torch.float64)
    expected.index_add_(0, torch.arange(count) % size, signed)
    own = torch.tensor(sketch(theta, seed=seed, size=size), dtype=torch.float64)
    torch.testing.assert_close(own, expected)


@given(seed=st.integers(0, 2**63 - 1), threads=st.sampled_from([1, 2]))
def test_sketch_of_the_same_bits_is_the_same_floats(seed: int, threads: int) -> None:
    theta = vector(100_000)
    before = torch.get_num_threads()
    first = sketch(theta, seed=seed)
    torch.set_num_threads(threads)
    try:
        assert sketch(theta.clone(), seed=seed) == first
    finally:
        torch.set_num_threads(before)


def test_sketch_of_another_seed_or_one_other_element_differs() -> None:
    theta = vector(1000)
    other = theta.clone()
    other[500] += 1e-3
    assert sketch(theta, seed=1) != sketch(theta, seed=2)
    assert sketch(theta, seed=1) != sketch(other, seed=1)


def test_sketch_keeps_the_norm_on_average() -> None:
    theta = vector(20_000)
    ratios = [math.hypot(*sketch(theta, seed=seed)) ** 2 / float(theta.norm()) ** 2 for seed in range(200)]
    # 200 draws of relative deviation sqrt(2 / 64): the mean is within 4 of its standard errors
    assert abs(sum(ratios) / 200 - 1.0) < 4 * math.sqrt(2 / 64 / 200)
    assert all(0.3 < ratio < 2.0 for ratio in ratios)


def test_sketch_leaves_theta_alone() -> None:
    theta = torch.nn.Parameter(vector(10))
    before = theta.detach().clone()
    sketch(theta, seed=1)
    assert torch.equal(theta.detach(), before)


@pytest.mark.parametrize("scale", [1e-3, 1e-6])
def test_disagreement_of_sketches_is_that_of_models(scale: float) -> None:
    base = vector(50_000)
    models = [base + scale * vector(50_000, seed) for seed in range(1, 9)]
    mean = torch.stack(models).mean(dim=0)
    exact = max(float((model - mean).norm() / mean.norm()) for model in models)
    assert disagreement([sketch(model, seed=3) for model in models]) == pytest.approx(exact, rel=0.35)
