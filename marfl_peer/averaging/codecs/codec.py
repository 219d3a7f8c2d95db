"""What a codec is: float32 values to bytes and back, a segment at a time, the same bits at whoever decodes.

A codec that rounds up or down by chance takes the chances from its caller: parallel lines of the grid with equal
inputs have to round alike, or their members would no longer agree bit for bit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from marfl_peer.averaging.kernels import Floats

MAX_SEGMENT_FLOATS = 256 * 1024
"""What is encoded in one go. With half as much an exchange takes a tenth more processor time."""
_OFFSETS = 1 << 18


class Codec(Protocol):
    """Segments are float32 CPU tensors [n], n at most MAX_SEGMENT_FLOATS, all finite; encoded ones are uint8
    [encoded_bytes(n)] that begin at a multiple of four bytes. Little-endian, as every machine that torch runs on."""

    @property
    def name(self) -> str:
        """What it is called in settings and in ballots."""
        ...

    @property
    def is_exact(self) -> bool:
        """Whether what is decoded is what was encoded."""
        ...

    @property
    def leaves_values(self) -> bool:
        """Whether whole values may be left over of an encoding, and not only what rounding takes off."""
        ...

    def encoded_bytes(self, count: int) -> int:
        """How many bytes `count` values become."""
        ...

    def encode(self, values: Tensor, out: Tensor, chances: Tensor, decoded: Tensor | None = None) -> None:
        """Writes `values` [n] into `out` [encoded_bytes(n)], and what is decoded from that into `decoded` [n], if it is
        wanted. `chances`: float32 [n] in [0, 1)."""
        ...

    def decode(self, encoded: Tensor, out: Tensor) -> None:
        """Writes the values that were encoded into `out` [n]. They may be anything if the bytes come from a liar: not
        finite, too. Raises: RemoteProtocolError for bytes that stand for no values."""
        ...


def chances(seed: int, count: int) -> Tensor:
    """float32 [count] in [0, 1), count at most MAX_SEGMENT_FLOATS: the same for a `seed` everywhere. Read only."""
    return torch.from_numpy(drawn(seed, count))


def drawn(seed: int, count: int) -> Floats:
    """The same as an array.

    A window of one fixed table: fresh random numbers would cost more than all the rest of encoding.
    """
    start = seed % _OFFSETS
    return _table()[start : start + count]


@lru_cache(maxsize=1)
def _table() -> Floats:
    # 24 bits a number: exact in float32, and never rounded up to 1. RandomState's stream is promised to stay as it is.
    draws = np.random.RandomState(20251205).randint(0, 1 << 24, size=_OFFSETS + MAX_SEGMENT_FLOATS)
    return (draws / (1 << 24)).astype(np.float32)


def encode_with_feedback(
    codec: Codec, values: Tensor, residual: Tensor | None, out: Tensor, chances: Tensor, decoded: Tensor
) -> Tensor:
    """Encodes `values` [n] plus what the last encoding left over, which is used up; `decoded` [n] <- what is decoded.
    Returns what is left now [n].

    Error feedback: EF-SGD, arXiv 1901.09847. The residual is the caller's to keep only if the encoding counts.
    """
    target = values if residual is None else residual.add_(values)
    codec.encode(target, out, chances, decoded)
    return target - decoded if residual is None else target.sub_(decoded)
