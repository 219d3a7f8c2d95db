"""The order in which a peer sees its own samples: an endless stream of epochs, each a fresh permutation that
follows from (seed, shard, epoch) alone. Where the stream stands is two numbers, to save and restore."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marfl_peer.learning.seeds import seed_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The next sample: number `offset` of the permutation of `epoch`, both from 0."""

    epoch: int = 0
    offset: int = 0


class Batches:
    """Mini-batches over `indices` (int64 [n], n >= 1), without end.

    All batches have the same size, min(batch_size, n): the last one of an epoch is filled up from the next.
    """

    def __init__(self, indices: Tensor, *, batch_size: int, seed: int, shard: int | None) -> None:
        """Raises: ValueError if there is nothing to draw from."""
        if len(indices) == 0 or batch_size < 1:
            raise ValueError(f"no batches of {batch_size} out of {len(indices)} samples")
        self.size = min(batch_size, len(indices))
        self._indices = indices
        self._names = (seed, shard)
        self._position = Position()
        self._order = self._permutation(0)

    @property
    def position(self) -> Position:
        """Where the next batch starts."""
        return self._position

    def restore(self, position: Position) -> None:
        """Goes on at a saved position of the same samples. Raises: ValueError if they have none such."""
        if position.epoch < 0 or not 0 <= position.offset < len(self._indices):
            raise ValueError(f"{position} is not among {len(self._indices)} samples")
        self._order = self._permutation(position.epoch)
        self._position = position

    def next_batch(self) -> Tensor:
        """int64 [size]: the next members of `indices`."""
        epoch, start = self._position.epoch, self._position.offset
        count = len(self._indices)
        batch = self._order[start : start + self.size]
        end = start + self.size
        if end >= count:
            epoch, end = epoch + 1, end - count
            self._order = self._permutation(epoch)
            batch = torch.cat([batch, self._order[:end]])
        self._position = Position(epoch=epoch, offset=end)
        return batch

    def _permutation(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed_of("batches", *self._names, epoch))
        return self._indices[torch.randperm(len(self._indices), generator=generator)]
