"""A few numbers that stand for a whole model, so that peers can tell how far apart they are without sending
models: a seeded random projection (a count sketch with strided buckets)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

SKETCH_SIZE = 64


def sketch(theta: Tensor, *, seed: int, size: int = SKETCH_SIZE) -> tuple[float, ...]:
    """`size` sums over `theta`, float [n] on the CPU: element i goes with a random sign into sum i mod size.

    Linear in theta; keeps the squared norm in expectation, to about sqrt(2 / size) of it for a model.
    The same bits give the same floats on every machine: signs come from a generator whose stream is frozen,
    and the order of additions does not depend on threads.
    """
    count = theta.numel()
    rows = max(1, math.ceil(count / size))
    table = torch.zeros(rows * size, dtype=torch.float64)
    table[:count] = theta.detach()
    table[:count].mul_(_signs(count, seed))
    folded = table.view(rows, size)
    while len(folded) > 1:
        half = (len(folded) + 1) // 2
        folded[: len(folded) - half] += folded[half:]
        folded = folded[:half]
    return tuple(folded[0].tolist())


def _signs(count: int, seed: int) -> Tensor:
    """int8 [count] of -1 and 1."""
    stream = np.random.RandomState(np.random.MT19937(seed)).bytes((count + 7) // 8)
    bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8), count=count)
    return torch.from_numpy(bits.view(np.int8)).mul_(-2).add_(1)
