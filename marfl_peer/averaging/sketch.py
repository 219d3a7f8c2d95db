"""A few numbers that stand for a whole model, so that peers can tell how far apart they are without sending
models: a seeded random projection (a count sketch with strided buckets)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SKETCH_SIZE = 64
BLOCK = 256 * 1024
"""Values at a time, in one table: fresh memory would cost more than all sums."""


def sketch(theta: Tensor, *, seed: int, size: int = SKETCH_SIZE) -> tuple[float, ...]:
    """`size` sums over `theta`, float [n] on the CPU: element i goes with a random sign into sum i mod size.

    Linear in theta; keeps the squared norm in expectation, to about sqrt(2 / size) of it for a model.
    The same bits give the same floats on every machine: signs come from a generator whose stream is frozen,
    and the order of additions does not depend on threads.
    """
    values = theta.detach().reshape(-1)
    stream = np.random.RandomState(np.random.MT19937(seed))
    sums = torch.zeros(size, dtype=torch.float64)
    step = max(1, BLOCK // size) * size
    whole = torch.empty(min(step, len(values) + size), dtype=torch.float64)
    for start in range(0, len(values), step):
        block = values[start : start + step]
        count = len(block)
        table = whole[: -(-count // size) * size]
        torch.mul(block, _signs(stream, count), out=table[:count])
        table[count:] = 0.0
        sums += _folded(table.view(-1, size))
    return tuple(sums.tolist())


def _folded(table: Tensor) -> Tensor:
    """[size]: the sums of the columns of a table [rows, size], which is lost; always added in the same order."""
    while len(table) > 1:
        half = (len(table) + 1) // 2
        table[: len(table) - half] += table[half:]
        table = table[:half]
    return table[0]


def _signs(stream: np.random.RandomState, count: int) -> Tensor:
    """int8 [count]: the next -1 and 1."""
    bits = np.unpackbits(np.frombuffer(stream.bytes((count + 7) // 8), dtype=np.uint8), count=count)
    return torch.from_numpy(bits.view(np.int8)).mul_(-2).add_(1)
