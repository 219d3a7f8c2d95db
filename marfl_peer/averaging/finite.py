"""Whether values are finite: asked of every segment that is averaged, so the common case costs one sum."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def is_finite(values: Tensor) -> bool:
    """True if no value is NaN or infinite. A sum tells at once; only a sum that overflows asks every value."""
    return math.isfinite(float(values.sum())) or bool(torch.isfinite(values).all())


def first_not_finite(parts: Sequence[Tensor]) -> int | None:
    """The index of the first part that holds a NaN or an infinity, or None."""
    return next((index for index, part in enumerate(parts) if not bool(torch.isfinite(part).all())), None)
