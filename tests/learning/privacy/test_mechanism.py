"""Clipping, noise, server momentum and threshold of one release, against their formulas; and the mean of several."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from marfl_peer.averaging.vector import VectorSchema
from marfl_peer.learning.privacy.mechanism import (
    CLIP_RATE,
    LARGEST_CLIP,
    SMALLEST_CLIP,
    Mechanism,
    initial_,
    release_,
    threshold_of,
)
from marfl_peer.learning.privacy.noise import Normals

N = 40


def _schema(*, momentum: bool = True) -> VectorSchema:
    return VectorSchema.of(nn.Linear(N // 5 - 1, 5), momentum=momentum, private=True)


def _agreed(schema: VectorSchema, *, clip: float = 0.5, seed: int = 1) -> Tensor:
    agreed = torch.randn(schema.length, generator=torch.Generator().manual_seed(seed))
    agreed[schema.clip_at] = math.log(clip)
    return agreed


def _mechanism(noise: float, *, server_lr: float = 0.1, server_momentum: float = 0.9) -> Mechanism:
    return Mechanism(noise=noise, server_lr=server_lr, server_momentum=server_momentum)


def _released(
    schema: VectorSchema, delta: Tensor, agreed: Tensor, mechanism: Mechanism, *, seed: int = 7, trained: bool = True
) -> Tensor:
    """What leaves a peer whose update is `delta` [N]."""
    vector = torch.full_like(agreed, torch.nan)
    vector[:N] = agreed[:N] + delta
    normals = Normals(random.Random(seed).randbytes)
    release_(schema, vector, agreed=agreed, trained=trained, mechanism=mechanism, normals=normals)
    return vector


def _update(schema: VectorSchema, released: Tensor, agreed: Tensor) -> Tensor:
    """[N]: what a mate makes of it."""
    return released[N : 2 * N] - 0.9 * agreed[N : 2 * N]


NO_NOISE = 1e-9


def test_update_within_the_threshold_is_the_formula() -> None:
    schema = _schema()
    agreed = _agreed(schema, clip=100.0)
    delta = torch.linspace(-0.1, 0.1, N)
    released = _released(schema, delta, agreed, _mechanism(NO_NOISE))
    momentum = 0.9 * agreed[N : 2 * N] + delta
    torch.testing.assert_close(released[N : 2 * N], momentum)
    torch.testing.assert_close(released[:N], agreed[:N] + 0.1 * momentum)
    assert float(released[schema.clip_at]) == pytest.approx(math.log(100.0) - CLIP_RATE * 0.5, abs=1e-5)


def test_update_beyond_the_threshold_is_shortened_not_turned() -> None:
    schema = _schema()
    agreed = _agreed(schema, clip=0.5)
    delta = torch.linspace(-1.0, 1.0, N)
    released = _released(schema, delta, agreed, _mechanism(NO_NOISE))
    update = _update(schema, released, agreed)
    assert float(update.norm()) == pytest.approx(0.5, rel=1e-4)
    torch.testing.assert_close(update, 0.5 * delta / delta.norm(), rtol=1e-3, atol=1e-5)
    assert float(released[schema.clip_at]) == pytest.approx(math.log(0.5) + CLIP_RATE * 0.5, abs=1e-5)


@given(length=st.floats(0.0, 1e6), clip=st.floats(1e-3, 1e3))
def test_no_update_is_longer_than_the_threshold(length: float, clip: float) -> None:
    schema = _schema()
    agreed = torch.zeros(schema.length)
    agreed[schema.clip_at] = math.log(clip)
    delta = torch.linspace(-1.0, 1.0, N) * (length / math.sqrt(N))
    update = _released(schema, delta, agreed, _mechanism(NO_NOISE))[N : 2 * N]
    assert float(update.double().norm()) <= threshold_of(schema, agreed) * (1 + 1e-6)


@given(noise=st.floats(1e-3, 1e3))
def test_noise_is_split_between_update_and_bit_as_in_theorem_1(noise: float) -> None:
    mechanism = _mechanism(noise)
    assert 1 / noise**2 == pytest.approx(1 / mechanism.update_noise**2 + 1 / (2 * mechanism.bit_noise) ** 2)
    assert mechanism.update_noise == pytest.approx((noise**-2 - (2 * mechanism.bit_noise) ** -2) ** -0.5)


def test_noise_of_update_and_bit_have_the_stated_deviations() -> None:
    schema = _schema()
    agreed, mechanism = _agreed(schema, clip=0.5), _mechanism(1.5)
    updates, bits = [], []
    for seed in range(400):
        released = _released(schema, torch.zeros(N), agreed, mechanism, seed=seed)
        updates.append(_update(schema, released, agreed))
        bits.append((math.log(0.5) - float(released[schema.clip_at])) / CLIP_RATE + 0.5)
    noise = torch.stack(updates).double()
    assert float(noise.std()) == pytest.approx(1.5 / math.sqrt(0.9) * 0.5, rel=0.03)
    assert abs(float(noise.mean())) < 4 * float(noise.std()) / math.sqrt(noise.numel())
    assert float(torch.tensor(bits).std()) == pytest.approx(mechanism.bit_noise, rel=0.15)
    assert float(torch.tensor(bits).mean()) == pytest.approx(1.0, abs=4 * mechanism.bit_noise / 20)


def test_peer_that_did_not_train_releases_noise_around_nothing() -> None:
    schema = _schema()
    agreed = _agreed(schema, clip=0.5)
    released = _released(schema, torch.ones(N), agreed, _mechanism(NO_NOISE), trained=False)
    assert float(_update(schema, released, agreed).norm()) < 1e-5
    assert float(released[schema.clip_at]) == pytest.approx(math.log(0.5), abs=1e-6), "a bit of 1/2"
    noised = _released(schema, torch.ones(N), agreed, _mechanism(1.0), trained=False)
    assert float(_update(schema, noised, agreed).std()) == pytest.approx(0.5 / math.sqrt(0.9), rel=0.5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_update_that_is_not_finite_looks_like_any_other(value: float) -> None:
    schema = _schema()
    agreed = _agreed(schema)
    delta = torch.ones(N)
    delta[3] = value
    released = _released(schema, delta, agreed, _mechanism(1.0))
    assert bool(released.isfinite().all())
    assert float(_update(schema, released, agreed).std()) > 0.2


def test_mean_of_what_peers_release_is_the_state_after_the_mean_update() -> None:
    schema = _schema()
    agreed, mechanism = _agreed(schema, clip=0.5), _mechanism(0.3)
    deltas = [torch.randn(N, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
    released = [_released(schema, delta, agreed, mechanism, seed=seed) for seed, delta in enumerate(deltas)]
    mean = torch.stack(released).double().mean(0)
    update = torch.stack([_update(schema, one, agreed) for one in released]).double().mean(0)
    momentum = 0.9 * agreed[N : 2 * N].double() + update
    torch.testing.assert_close(mean[N : 2 * N], momentum, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mean[:N], agreed[:N].double() + 0.1 * momentum, rtol=1e-5, atol=1e-6)
    # C <- C exp(-0.2 (mean of the noisy bits - 0.5)), whoever works it out.
    bits = [(float(agreed[schema.clip_at]) - float(one[schema.clip_at])) / CLIP_RATE + 0.5 for one in released]
    expected = 0.5 * math.exp(-CLIP_RATE * (sum(bits) / 5 - 0.5))
    assert threshold_of(schema, mean.float()) == pytest.approx(expected, rel=1e-5)


def test_vector_without_server_momentum_takes_the_update_itself() -> None:
    schema = _schema(momentum=False)
    assert schema.length == N + 1
    agreed = torch.zeros(schema.length)
    agreed[schema.clip_at] = math.log(10.0)
    delta = torch.linspace(0.0, 1.0, N)
    released = _released(schema, delta, agreed, _mechanism(NO_NOISE, server_lr=0.5, server_momentum=0.0))
    torch.testing.assert_close(released[:N], 0.5 * delta)


def test_two_releases_of_one_update_have_noise_of_their_own() -> None:
    schema = _schema()
    agreed, mechanism = _agreed(schema, clip=1.0), _mechanism(1.0)
    first, second = (
        _update(schema, _released(schema, torch.zeros(N), agreed, mechanism, seed=seed), agreed) for seed in (1, 2)
    )
    assert abs(float(torch.corrcoef(torch.stack((first, second)))[0, 1])) < 4 / math.sqrt(N)


@pytest.mark.parametrize("stated", [-1e9, 1e9, math.inf, -math.inf, math.nan])
def test_threshold_that_others_made_absurd_is_neither_zero_nor_infinite(stated: float) -> None:
    schema = _schema()
    agreed = torch.zeros(schema.length)
    agreed[schema.clip_at] = stated
    clip = threshold_of(schema, agreed)
    assert SMALLEST_CLIP * (1 - 1e-9) <= clip <= LARGEST_CLIP * (1 + 1e-9)


def test_run_starts_without_momentum_and_with_the_given_threshold() -> None:
    schema = _schema()
    vector = torch.ones(schema.length)
    initial_(schema, vector, clip=0.25)
    assert vector[:N].tolist() == [1.0] * N
    assert vector[N : 2 * N].tolist() == [0.0] * N
    assert threshold_of(schema, vector) == pytest.approx(0.25)


def test_vector_that_is_not_private_starts_as_it_is() -> None:
    schema = VectorSchema.of(nn.Linear(2, 2), momentum=True)
    vector = torch.ones(schema.length)
    initial_(schema, vector, clip=0.25)
    assert vector.tolist() == [1.0] * schema.length
