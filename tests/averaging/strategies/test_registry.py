"""Every strategy that can be set is there, and does what a strategy does."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from marfl_peer.averaging.strategies.registry import STRATEGIES
from marfl_peer.config import Settings


def test_strategies_are_those_that_can_be_set() -> None:
    choices = next(item for item in dataclasses.fields(Settings) if item.name == "strategy").metadata["choices"]
    assert set(STRATEGIES) == set(choices)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_strategy_of_equal_parts_is_that_part(name: str) -> None:
    part = torch.linspace(-1, 1, 64)
    out = torch.empty(64)
    STRATEGIES[name](out, [part.clone(), part.clone()], [1, 1], torch.empty(64))
    assert torch.equal(out, part)
