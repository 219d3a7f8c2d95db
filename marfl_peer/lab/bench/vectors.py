"""The vectors that are averaged: what each rank brings, and what must come out. All members make theirs by themselves.

Rank r brings (1 + r/N) times one random vector that all know, so that the mean of any ranks is known to everybody, and
a part that was left out, counted twice or put in another's place shows in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

SEED = 20251205
LARGEST_ERROR = 1e-5
"""Of a mean in float32, relative to the largest value."""


def own_vector(rank: int, ranks: int, floats: int) -> Tensor:
    """float32 [floats]: what this rank brings."""
    return _base(floats).mul_(_factor(rank, ranks))


def weight(rank: int) -> int:
    """Of a rank's vector in the weighted mean of peers: 1, 2 or 3."""
    return 1 + rank % 3


def error_of(result: Tensor, weights: Sequence[int]) -> float:
    """How far float32 [floats] is from the mean of all ranks with these weights, relative to the largest value."""
    ranks = len(weights)
    mean = sum(own * _factor(rank, ranks) for rank, own in enumerate(weights)) / sum(weights)
    expected = _base(result.numel()).mul_(mean)
    largest = float(expected.abs().max())
    error = float(expected.sub_(result).abs_().max()) / largest
    return error if error == error else float("inf")  # values that are no numbers are as wrong as can be


def digest_of(result: Tensor) -> str:
    """Equal bits have equal digests."""
    return hashlib.sha256(memoryview(result.numpy())).hexdigest()  # type: ignore[arg-type]  # arrays are buffers


def _base(floats: int) -> Tensor:
    return torch.randn(floats, generator=torch.Generator().manual_seed(SEED))


def _factor(rank: int, ranks: int) -> float:
    return 1.0 + rank / ranks
