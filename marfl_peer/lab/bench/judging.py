"""Whether a result is the mean that must come out, as nearly as its codec can give it. Pure.

Two figures are judged. The largest error of a value: rounding up or down by chance is off by one step at most. And the
size of the whole, by projection on what must come out: there roundings cancel, and what a missing member takes away
stays, which a few bits a value would hide in any single one. Values that top-k has not sent yet count in neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from marfl_peer.averaging.codecs.codec import Codec
from marfl_peer.averaging.codecs.float32 import Float32
from marfl_peer.averaging.codecs.halves import Half
from marfl_peer.averaging.codecs.quantised import Quantised
from marfl_peer.averaging.codecs.sparse import STRETCH, TopK
from marfl_peer.lab.bench.vectors import mean_vector

FLOAT32_ERROR = 1e-5
"""Of a mean in float32, relative to the largest value, and of its size."""
DEVIATIONS = 8.0
"""Standard deviations that a sum of roundings may be off: chance alone does not come that far."""
LARGEST_TO_USUAL = 3.0
"""The largest value of a block in terms of the root mean square: of 128 normal ones hardly more."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`error` is the largest of a value, relative to the largest value; `wrong` says what cannot be, or nothing."""

    error: float
    wrong: str = ""

    def joined(self, other: Judgement) -> Judgement:
        """Of two parts of one result."""
        return Judgement(max(self.error, other.error), self.wrong or other.wrong)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a value may be off, relative to the largest, and the size of the whole, relative to itself."""

    value: float
    size: float


def judge_exact(result: Tensor, weights: Sequence[int]) -> Judgement:
    """Of float32 [n], averaged as it is."""
    return judge(result, mean_vector(weights, result.numel()), Bounds(FLOAT32_ERROR, FLOAT32_ERROR))


def judge_encoded(
    result: Tensor, weights: Sequence[int], *, theta: Codec, momentum: Codec, encodings: int
) -> Judgement:
    """Of float32 [2n], half each, that was encoded `encodings` times in a row, beginning with nothing left over."""
    expected, half = mean_vector(weights, result.numel()), result.numel() // 2
    bounds = [bounds_of(codec, values=half, encodings=encodings, ranks=len(weights)) for codec in (theta, momentum)]
    first = judge(result[:half], expected[:half], bounds[0])
    return first.joined(judge(result[half:], expected[half:], bounds[1]))


def bounds_of(codec: Codec, *, values: int, encodings: int, ranks: int) -> Bounds:
    """For `values` values that `ranks` members average."""
    match codec:
        case Half(dtype=dtype):
            step = torch.finfo(dtype).eps
        case Quantised(levels=levels):
            step = (1 + 2**-7) / levels  # a scale is rounded up to the next bfloat16
        case TopK(fraction=fraction):
            # Members keep the same values, but for two that are equal up to rounding at the edge of a stretch.
            stretches = values / STRETCH + ranks + 1
            return Bounds(math.inf, FLOAT32_ERROR + 2 * stretches / (values * fraction))
        case Float32():
            return Bounds(FLOAT32_ERROR, FLOAT32_ERROR)
        case _:
            raise NotImplementedError(codec.name)
    noise = LARGEST_TO_USUAL * step / 2 * math.sqrt(encodings / values)
    return Bounds(FLOAT32_ERROR + (1 + step) ** encodings - 1, FLOAT32_ERROR + DEVIATIONS * noise)


def judge(result: Tensor, expected: Tensor, bounds: Bounds) -> Judgement:
    """Both float32 [n]; `expected` is anything but zeros."""
    if not bool(torch.isfinite(result).all()):
        return Judgement(math.inf, "it has values that are no numbers")
    is_sent = result != 0 if bounds.value == math.inf else torch.ones_like(result, dtype=torch.bool)
    came, wanted = result[is_sent].double(), expected[is_sent].double()
    if not came.numel():
        return Judgement(math.inf, "nothing came")
    error = float((came - wanted).abs().max() / expected.abs().max())
    size = abs(float(came @ wanted / (wanted @ wanted)) - 1)
    if error > bounds.value:
        return Judgement(
            error, f"off by {error:.1e} of the largest value, where rounding is at most {bounds.value:.1e}"
        )
    if size > bounds.size:
        return Judgement(error, f"its size is off by {size:.1e}, where rounding is at most {bounds.size:.1e}")
    return Judgement(error)
