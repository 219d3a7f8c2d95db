"""Every strategy that can be set is there, and does what a strategy does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from marfl_peer.averaging.strategies.registry import STRATEGIES
from marfl_peer.config import Settings


def test_strategies_are_those_that_can_be_set() -> None:
    choices = next(item for item in dataclasses.fields(Settings) if item.name == "strategy").metadata["choices"]
    assert set(STRATEGIES) == set(choices)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_strategy_of_equal_parts_is_that_part(name: str) -> None:
    part = np.linspace(-1, 1, 64, dtype=np.float32)
    out = np.empty(64, np.float32)
    STRATEGIES[name](out, [part.copy(), part.copy()], [1, 1], np.empty(64, np.float32))
    assert np.array_equal(out, part)
