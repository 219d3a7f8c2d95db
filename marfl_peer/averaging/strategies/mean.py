"""The weighted mean, in one fixed order and without fused operations: equal inputs give equal bits wherever they are
cut into segments and whoever computes them (scalar tails and vector bodies round alike)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def weighted_mean_(out: Tensor, parts: Sequence[Tensor], weights: Sequence[int], scratch: Tensor) -> None:
    """out <- sum_i w_i/W * parts[i], summed in the order given. All float32 [n]; `scratch` has at least n floats.

    `out` may be parts[0]. Zero weights are the caller's to leave out; the weights must not all be zero.
    """
    total = sum(weights)
    torch.mul(parts[0], weights[0] / total, out=out)
    term = scratch[: out.numel()]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        torch.mul(part, weight / total, out=term)
        out.add_(term)
