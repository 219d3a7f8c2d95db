"""Not finite is what holds a NaN or an infinity, however large the others are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.averaging.finite import first_not_finite, is_finite

LARGEST = torch.finfo(torch.float32).max


@given(st.lists(st.floats(width=32), max_size=50))
def test_is_finite_agrees_with_every_value(values: list[float]) -> None:
    assert is_finite(torch.tensor(values, dtype=torch.float32)) == all(math.isfinite(value) for value in values)


@pytest.mark.parametrize("place", [0, 4_999, 9_999])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_is_finite_finds_one_bad_value_among_many(bad: float, place: int) -> None:
    values = torch.ones(10_000)
    values[place] = bad
    assert not is_finite(values)


def test_is_finite_where_sum_and_width_overflow() -> None:
    assert is_finite(torch.full((1000,), LARGEST))
    assert is_finite(torch.tensor([-LARGEST, LARGEST]))


def test_is_finite_where_infinities_would_cancel() -> None:
    assert not is_finite(torch.tensor([math.inf, -math.inf]))


def test_is_finite_of_nothing() -> None:
    assert is_finite(torch.empty(0))


@given(st.lists(st.floats(width=32), max_size=50))
def test_is_finite_is_the_same_for_an_array(values: list[float]) -> None:
    array = np.array(values, np.float32)
    assert is_finite(array) == is_finite(torch.from_numpy(array))


def test_first_not_finite_names_the_first() -> None:
    parts = [np.ones(3, np.float32), np.array([1.0, math.inf], np.float32), np.array([math.nan], np.float32)]
    assert first_not_finite(parts) == 1


def test_first_not_finite_of_finite_parts() -> None:
    assert first_not_finite([np.full(3, LARGEST, np.float32)] * 2) is None
