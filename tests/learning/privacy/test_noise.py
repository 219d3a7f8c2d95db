"""Normal numbers from random bytes: what they are like, and that nobody's are another's."""

from __future__ import annotations

import math
import os
import random

import numpy as np
import pytest
from scipy import stats

from marfl_peer.learning.privacy.noise import KEY_BYTES, Normals


def _seeded(seed: int) -> Normals:
    return Normals(random.Random(seed).randbytes)


def test_numbers_are_standard_normal() -> None:
    numbers = _seeded(1).take(200_000)
    assert numbers.dtype == np.float64
    assert stats.kstest(numbers, "norm").pvalue > 1e-3
    assert abs(numbers.mean()) < 4 / math.sqrt(len(numbers))
    assert abs(numbers.var() - 1.0) < 4 * math.sqrt(2 / len(numbers))
    assert abs(stats.kurtosis(numbers)) < 4 * math.sqrt(24 / len(numbers))
    assert (np.abs(numbers) > 4.0).any(), "tails are not cut"


def test_halves_of_the_pairs_are_not_correlated() -> None:
    numbers = _seeded(2).take(100_000)
    assert abs(np.corrcoef(numbers[:50_000], numbers[50_000:])[0, 1]) < 4 / math.sqrt(50_000)
    assert abs(np.corrcoef(numbers[:50_000] ** 2, numbers[50_000:] ** 2)[0, 1]) < 4 / math.sqrt(50_000)


def test_equal_entropy_gives_equal_numbers_and_other_entropy_others() -> None:
    first, again, other = _seeded(3).take(1000), _seeded(3).take(1000), _seeded(4).take(1000)
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first, other)[0, 1]) < 4 / math.sqrt(1000)


def test_stream_goes_on_and_repeats_nothing() -> None:
    normals = _seeded(5)
    numbers = np.concatenate([normals.take(count) for count in (1, 2, 3, 1000)])
    assert len(set(numbers.tolist())) == 1006


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_as_many_as_asked_for(count: int) -> None:
    assert _seeded(6).take(count).shape == (count,)


def test_key_is_asked_for_once_and_whole() -> None:
    asked: list[int] = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    normals = Normals(entropy)
    normals.take(10)
    normals.take(10)
    assert asked == [KEY_BYTES]
    assert KEY_BYTES == 32
