"""The largest values of every segment, and where they stand; the rest is left for error feedback to bring later.

Layout of a segment of n values: k indices (uint16, ascending), then k float32. Deep Gradient Compression, arXiv
1712.01887.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from marfl_peer.errors import RemoteProtocolError

BYTES_A_VALUE = 2 + 4


@dataclass(frozen=True, slots=True)
class TopK:
    """`fraction` of the values of every segment travel, at least one."""

    fraction: float
    is_exact: bool = False
    leaves_values: bool = True

    @property
    def name(self) -> str:
        return f"topk:{self.fraction:g}"

    def encoded_bytes(self, count: int) -> int:
        return BYTES_A_VALUE * self._kept(count)

    def encode(self, values: Tensor, out: Tensor, chances: Tensor, decoded: Tensor | None = None) -> None:
        kept = self._kept(values.numel())
        indices = torch.topk(values.abs(), kept, sorted=False).indices.sort().values
        _bytes_of(out)[: 2 * kept].view(np.uint16)[:] = indices.numpy()
        largest = values[indices]
        out[2 * kept :].copy_(largest.view(torch.uint8))
        if decoded is not None:
            decoded.zero_()
            decoded[indices] = largest

    def decode(self, encoded: Tensor, out: Tensor) -> None:
        kept = self._kept(out.numel())
        indices = _bytes_of(encoded)[: 2 * kept].view(np.uint16).astype(np.int64)
        if kept and (indices[-1] >= out.numel() or (np.diff(indices) <= 0).any()):
            raise RemoteProtocolError("bad_codec", f"indices that do not ascend below {out.numel()}")
        out.zero_()
        # copied: the values need not lie where a float32 may lie
        out[torch.from_numpy(indices)] = encoded[2 * kept :].clone().view(torch.float32)

    def _kept(self, count: int) -> int:
        return math.ceil(count * self.fraction)


def _bytes_of(encoded: Tensor) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return encoded.numpy()
