"""Vectors that are used again: making a fresh one costs a page fault every 4 KiB, a tenth of an exchange.

Their memory comes back by itself when nobody refers to it any more, neither a tensor, nor a view of it, nor a socket
that still has to send some of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from marfl_peer.averaging.codecs.float32 import as_bytes

Memory: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class BufferPool:
    """CPU vectors of one length and type, of which at most `keep` lie ready."""

    def __init__(self, length: int, *, keep: int = 4, dtype: torch.dtype = torch.float32) -> None:
        self.length, self._dtype = length, dtype
        self._keep = keep
        self._ready: list[Memory] = []

    def __len__(self) -> int:
        """How many lie ready."""
        return len(self._ready)

    def take(self) -> Tensor:
        """A vector [length] with arbitrary content."""
        # Fresh memory is torch's: numpy asks for huge pages, and to clear one at its first touch takes up to 5 ms.
        memory = self._ready.pop() if self._ready else torch.empty(self.length, dtype=self._dtype).numpy()
        lease = memory.view(_Lease)
        lease.home = self
        return torch.from_numpy(lease)

    def come_back(self, memory: Memory) -> None:
        """Nobody refers to this memory of a vector any more."""
        if len(self._ready) < self._keep:
            self._ready.append(memory)


class Segment(NamedTuple):
    """A short vector, and its bytes."""

    array: Memory
    memory: memoryview


class SegmentPool:
    """Vectors of one length that come and go by the hundred a second: who took one gives it back when nobody else
    refers to it, or lets it go for good."""

    def __init__(self, length: int, *, keep: int = 16) -> None:
        self.length, self._keep = length, keep
        self._ready: list[Segment] = []

    def __len__(self) -> int:
        """How many lie ready."""
        return len(self._ready)

    def take(self) -> Segment:
        """With arbitrary content."""
        if self._ready:
            return self._ready.pop()
        values = torch.empty(self.length, dtype=torch.float32)
        return Segment(values.numpy(), as_bytes(values))

    def give_back(self, segment: Segment) -> None:
        if len(self._ready) < self._keep:
            self._ready.append(segment)


class _Lease(np.ndarray[Any, np.dtype[Any]]):
    """The array under a tensor: it ends when the last tensor, view or buffer of its memory does."""

    home: BufferPool | None = None

    def __del__(self) -> None:
        if self.home is not None and isinstance(self.base, np.ndarray):
            self.home.come_back(self.base)
