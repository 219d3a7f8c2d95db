"""The vectors that are averaged: what each rank brings, and what must come out. All members make theirs by themselves.

Rank r brings f_r times one random vector that all know, so that the mean of any ranks is known to everybody, and a part
that was left out, counted twice or put in another's place shows in it. No f_r is near the mean of all: a rank that is
missing shows however large the others' number, and also where values are rounded on their way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

SEED = 20251205


def own_vector(rank: int, ranks: int, floats: int) -> Tensor:
    """float32 [floats]: what this rank brings."""
    return _base(floats).mul_(factor(rank, ranks))


def factor(rank: int, ranks: int) -> float:
    """What a rank multiplies the random vector with."""
    return 1.0 + rank % 2 + rank / (2 * ranks)


def shared_base(path: Path, floats: int) -> Tensor:
    """float32 [floats]: the random vector, in a file that all processes of a bench have in memory once. Read only.

    Who is first makes it; `path` is in a folder of the bench's own.
    """
    if not path.exists():
        _base(floats).numpy().tofile(path)
    return torch.from_file(str(path), shared=True, size=floats, dtype=torch.float32)


def mean_vector(weights: Sequence[int], floats: int) -> Tensor:
    """float32 [floats]: the mean of all ranks with these weights."""
    ranks = len(weights)
    return _base(floats).mul_(sum(own * factor(rank, ranks) for rank, own in enumerate(weights)) / sum(weights))


def weight(rank: int) -> int:
    """Of a rank's vector in the weighted mean of peers: 1, 2 or 3."""
    return 1 + rank % 3


def digest_of(result: Tensor) -> str:
    """Equal bits have equal digests."""
    return hashlib.sha256(memoryview(result.numpy())).hexdigest()  # type: ignore[arg-type]  # arrays are buffers


def _base(floats: int) -> Tensor:
    return torch.randn(floats, generator=torch.Generator().manual_seed(SEED))
