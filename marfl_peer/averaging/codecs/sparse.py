"""The largest values of every stretch, and where they stand; the rest is left for error feedback to bring later.

Layout of a stretch of n values: k indices (uint16, ascending), then k float32. A segment is one stretch after the
other. Deep Gradient Compression, arXiv 1712.01887.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from marfl_peer.averaging.kernels import Floats
from marfl_peer.errors import RemoteProtocolError

BYTES_A_VALUE = 2 + 4
STRETCH = 1 << 16
"""What indices of two bytes reach."""


@dataclass(frozen=True, slots=True)
class TopK:
    """`fraction` of the values of every stretch travel, at least one."""

    fraction: float
    is_exact: bool = False
    leaves_values: bool = True

    @property
    def name(self) -> str:
        return f"topk:{self.fraction:g}"

    def encoded_bytes(self, count: int) -> int:
        whole, rest = divmod(count, STRETCH)
        return BYTES_A_VALUE * (whole * self._kept(STRETCH) + self._kept(rest))

    def encode(self, values: Tensor, out: Tensor, chances: Tensor, decoded: Tensor | None = None) -> None:
        if decoded is not None:
            decoded.zero_()
        for stretch, own in self._stretches(values.numel()):
            kept = self._kept(len(stretch))
            part, data = values[stretch.start : stretch.stop].numpy(), out[own.start : own.stop].numpy()
            indices = _largest(part, kept)
            largest = part[indices]
            data[: 2 * kept].view(np.uint16)[:] = indices
            data[2 * kept :] = largest.view(np.uint8)
            if decoded is not None:
                decoded.numpy()[stretch.start + indices] = largest

    def decode(self, encoded: Tensor, out: Tensor) -> None:
        out.zero_()
        for stretch, own in self._stretches(out.numel()):
            kept, data = self._kept(len(stretch)), encoded[own.start : own.stop].numpy()
            indices = data[: 2 * kept].view(np.uint16).astype(np.intp)
            if indices[-1] >= len(stretch) or (np.diff(indices) <= 0).any():
                raise RemoteProtocolError("bad_codec", f"indices that do not ascend below {len(stretch)}")
            # copied: the values need not lie where a float32 may lie
            out.numpy()[stretch.start + indices] = data[2 * kept :].copy().view(np.float32)

    def _stretches(self, count: int) -> Iterator[tuple[range, range]]:
        """Which of `count` values each is of, and which bytes it is."""
        at = 0
        for start in range(0, count, STRETCH):
            stretch = range(start, min(start + STRETCH, count))
            size = BYTES_A_VALUE * self._kept(len(stretch))
            yield stretch, range(at, at + size)
            at += size

    def _kept(self, count: int) -> int:
        return math.ceil(count * self.fraction)


def _largest(values: Floats, count: int) -> NDArray[np.intp]:
    """Where the `count` values of the largest magnitude stand, ascending; of equal ones the first. torch.topk takes
    several times as long, and does not say which of equal ones it takes."""
    magnitudes = np.absolute(values)
    least = np.partition(magnitudes, -count)[-count]
    above, equal = np.flatnonzero(magnitudes > least), np.flatnonzero(magnitudes == least)
    return np.sort(np.concatenate((above, equal[: count - len(above)])), kind="stable")
