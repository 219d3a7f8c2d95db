"""What the encodings of one exchange left over, to be fed back in the next iteration: half as large as float32.

What rounding leaves in a block is at most about one step of the codec. In steps of that over 32767 it is kept, with
int8, as near as float32 is to the block's largest value (1.2e-7 of it), with int4 nearly (2.2e-6). Where whole values
are left over (`Codec.leaves_values`) they are kept as they are: one that is small beside others adds up over many
iterations, and in steps it would be lost in each of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.kernels import Floats, Left

BLOCK = 128
"""Values with one scale."""
_LEVELS = 32767
_NOTHING = np.empty(0, np.float32)
_SMALLEST_SCALE = np.finfo(np.float32).tiny
"""Below it 1 / scale overflows."""


class Residuals:
    """Segments of a vector [n], by their first floats. They do not overlap; each is kept once.

    Memory is one piece a kind, not one a segment: pieces among what encoding needs for a moment would keep the heap
    from shrinking. That of the steps comes from `pool`, if there is one, a `steps_pool`: it is written anew in every
    exchange. What nobody writes to takes none.
    """

    def __init__(self, length: int = 0, pool: BufferPool | None = None) -> None:
        self._length, self._pool = length, pool
        self._stops: dict[int, int] = {}
        self._values: Tensor | None = None
        """Float32 [n]: of whole segments, and of others what is behind their last whole block."""
        self._steps: NDArray[np.int16] | None = None
        self._scales: Floats | None = None
        """Of the j-th whole block of a segment at start // BLOCK + j: those of the next segment come after it."""
        self._whole: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        """The first floats of the segments."""
        return iter(self._stops)

    def __len__(self) -> int:
        return len(self._stops)

    def keep(self, start: int, left: Tensor, *, is_whole: bool) -> None:
        """`left` [length of the segment], finite, is used up. `is_whole`: whether it may be whole values."""
        self._add(start, start + left.numel(), is_whole=is_whole)
        body = self._body(start)
        if body:
            _to_steps(left[:body].numpy(), *self._stepped(start))
        if body < left.numel():
            self._plain(start).copy_(left[body:])

    def at(self, start: int, memory: Tensor | None = None) -> Tensor | None:
        """A segment [its length], the caller's own; None where nothing is left over. `memory`: of that length at least,
        to be used for it."""
        stop = self._stops.get(start)
        if stop is None:
            return None
        out = torch.empty(stop - start) if memory is None else memory[: stop - start]
        body = self._body(start)
        if body:
            steps, scales = self._stepped(start)
            blocks = out[:body].numpy().reshape(-1, BLOCK)
            blocks[:] = steps
            blocks *= scales[:, None]
        if body < stop - start:
            out[body:].copy_(self._plain(start))
        return out

    def room(self, start: int, length: int) -> Left:
        """The memory that what is left of a segment [length] is to be written to: for who knows how it is kept."""
        self._add(start, start + length, is_whole=False)
        return self._left(start)

    def kept(self, start: int) -> Left | None:
        """What is left of a segment, as it is kept; None where nothing is. Read only."""
        return self._left(start) if start in self._stops else None

    def _left(self, start: int) -> Left:
        is_round = start + self._body(start) == self._stops[start]
        return Left(*self._stepped(start), _NOTHING if is_round else self._plain(start).numpy())

    def fill_up(self, before: Residuals) -> None:
        """Copies the segments that are not here from those of the same exchange an iteration ago."""
        for start, stop in before._stops.items():
            if start in self._stops:
                continue
            self._add(start, stop, is_whole=start in before._whole)
            body = self._body(start)
            if body:
                (steps, scales), (old_steps, old_scales) = self._stepped(start), before._stepped(start)
                steps[:], scales[:] = old_steps, old_scales
            if body < stop - start:
                self._plain(start).copy_(before._plain(start))

    def _add(self, start: int, stop: int, *, is_whole: bool) -> None:
        self._stops[start] = stop
        if is_whole:
            self._whole.add(start)

    def _body(self, start: int) -> int:
        """How many of a segment's values are kept in steps."""
        length = self._stops[start] - start
        return 0 if start in self._whole else length - length % BLOCK

    def _stepped(self, start: int) -> tuple[NDArray[np.int16], Floats]:
        """(int16 [b, BLOCK], float32 [b]): the values that are kept in steps."""
        if self._steps is None or self._scales is None:
            length = _steps_length(self._length)
            memory = (torch.empty(length, dtype=torch.int16) if self._pool is None else self._pool.take()).numpy()
            self._steps = memory[: self._length]
            self._scales = memory[self._length + self._length % 2 :].view(np.float32)
        first, body = start // BLOCK, self._body(start)
        return self._steps[start : start + body].reshape(-1, BLOCK), self._scales[first : first + body // BLOCK]

    def _plain(self, start: int) -> Tensor:
        """The values that are kept as they are."""
        if self._values is None:
            self._values = torch.empty(self._length)
        return self._values[start + self._body(start) : self._stops[start]]


def _to_steps(left: Floats, steps: NDArray[np.int16], scales: Floats) -> None:
    """steps [b, BLOCK] and scales [b] <- left [b * BLOCK], which is used up."""
    blocks = left.reshape(-1, BLOCK)
    # as integers: see the codec of few bits
    largest = np.maximum.reduce(np.absolute(blocks).view(np.int32), axis=1).view(np.float32)
    np.divide(largest, np.float32(_LEVELS), out=scales)
    np.maximum(scales, _SMALLEST_SCALE, out=scales)
    blocks *= np.reciprocal(scales)[:, None]
    # the largest over its scale is off 32767 by far less than a half: nothing has to be clamped
    np.rint(blocks, out=blocks)
    np.copyto(steps, blocks, casting="unsafe")


def steps_pool(length: int) -> BufferPool:
    """Of memory for the steps of vectors [length] and their scales."""
    return BufferPool(_steps_length(length), keep=2, dtype=torch.int16)


def _steps_length(length: int) -> int:
    """Scales are float32, and begin where one can."""
    return length + length % 2 + 2 * (length // BLOCK)
