"""Vectors that are used again: making a fresh one costs a page fault every 4 KiB."""

from __future__ import annotations

import torch
from torch import Tensor


class BufferPool:
    """float32 CPU vectors of one length. Give back only what nobody reads any more."""

    def __init__(self, length: int, *, keep: int = 3) -> None:
        self.length = length
        self._keep = keep
        self._free: list[Tensor] = []

    def take(self) -> Tensor:
        """A vector [length] with arbitrary content."""
        return self._free.pop() if self._free else torch.empty(self.length, dtype=torch.float32)

    def give(self, vector: Tensor) -> None:
        if vector.numel() != self.length:
            raise ValueError(f"a vector of {vector.numel()} floats does not belong in a pool of {self.length}")
        if len(self._free) < self._keep and not any(vector is other for other in self._free):
            self._free.append(vector)
