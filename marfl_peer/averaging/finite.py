"""Whether values are finite: asked of everything that is averaged, so the common case costs one look in C, or two by
numpy: where others' values have just been through the processor's caches, a call of torch costs as much as both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from marfl_peer.averaging import kernels


def is_finite(values: Tensor | NDArray[np.float32]) -> bool:
    """True if no value [n] is NaN or infinite: the largest and the least tell, since NaN counts as both."""
    array = values.numpy() if isinstance(values, Tensor) else values
    if kernels.native is not None:
        return kernels.native.is_finite(array)
    return not len(array) or (math.isfinite(np.maximum.reduce(array)) and math.isfinite(np.minimum.reduce(array)))


def first_not_finite(parts: Sequence[NDArray[np.float32]]) -> int | None:
    """The index of the first part that holds a NaN or an infinity, or None."""
    return next((index for index, part in enumerate(parts) if not bool(np.isfinite(part).all())), None)
