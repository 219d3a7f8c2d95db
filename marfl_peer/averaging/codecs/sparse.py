"""The largest values of every stretch, and where they stand; the rest is left for error feedback to bring later.

Layout of a stretch of n values: k indices (uint16, ascending), then k float32. A segment is one stretch after the
other. Deep Gradient Compression, arXiv 1712.01887.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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
            part, data = values[stretch.start : stretch.stop], out[own.start : own.stop]
            indices = torch.topk(part.abs(), kept, sorted=False).indices.sort().values
            largest = part[indices]
            _bytes_of(data)[: 2 * kept].view(np.uint16)[:] = indices.numpy()
            data[2 * kept :].copy_(largest.view(torch.uint8))
            if decoded is not None:
                decoded[stretch.start + indices] = largest

    def decode(self, encoded: Tensor, out: Tensor) -> None:
        out.zero_()
        for stretch, own in self._stretches(out.numel()):
            kept, data = self._kept(len(stretch)), encoded[own.start : own.stop]
            indices = _bytes_of(data)[: 2 * kept].view(np.uint16).astype(np.int64)
            if indices[-1] >= len(stretch) or (np.diff(indices) <= 0).any():
                raise RemoteProtocolError("bad_codec", f"indices that do not ascend below {len(stretch)}")
            # copied: the values need not lie where a float32 may lie
            out[stretch.start + torch.from_numpy(indices)] = data[2 * kept :].clone().view(torch.float32)

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


def _bytes_of(encoded: Tensor) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return encoded.numpy()
