"""Few bits a value: blocks of 128 integers with one bfloat16 scale each, rounded up or down by chance (unbiased).

Layout of a segment of n values: ceil(n / 128) scales, then n integers; of int4 two to a byte, the first in the low
half. QSGD, arXiv 1610.02132; block-wise scales as in arXiv 2110.02861.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 128
SCALE_BYTES = 2
SMALLEST_SCALE = torch.finfo(torch.float32).tiny
"""Below it 1 / scale overflows: such values count as zeros until feedback has gathered enough of them."""
LARGEST_SCALE = torch.finfo(torch.float32).max * (1 - 2**-7)
"""Of a value that is all levels of it: rounded up it is still finite."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """Integers from -`levels` to `levels`, of 8 or 4 `bits`."""

    name: str
    bits: int
    levels: int
    is_exact: bool = False
    leaves_values: bool = False

    def encoded_bytes(self, count: int) -> int:
        return _blocks(count) * SCALE_BYTES + (count * self.bits + 7) // 8

    def encode(self, values: Tensor, out: Tensor, chances: Tensor) -> None:
        count = values.numel()
        cut, body = _blocks(count) * SCALE_BYTES, count - count % BLOCK
        scales = out[:cut].view(torch.bfloat16)
        quanta = out[cut:].view(torch.int8) if self.bits == 8 else torch.empty(count, dtype=torch.int8)
        for start, stop, width in ((0, body, BLOCK), (body, count, count - body)):
            if start < stop:
                whole = start // BLOCK
                blocks = values[start:stop].view(-1, width)
                _quantise_(
                    blocks,
                    chances[start:stop].view(-1, width),
                    scales[whole : whole + blocks.shape[0]],
                    quanta[start:stop].view(-1, width),
                    self.levels,
                )
        if self.bits == 4:
            _pack_(quanta, out[cut:])

    def decode(self, encoded: Tensor, out: Tensor) -> None:
        count = out.numel()
        cut, body = _blocks(count) * SCALE_BYTES, count - count % BLOCK
        scales = encoded[:cut].view(torch.bfloat16).float()
        quanta = encoded[cut:].view(torch.int8) if self.bits == 8 else _unpacked(encoded[cut:], count)
        for start, stop, width in ((0, body, BLOCK), (body, count, count - body)):
            if start < stop:
                own = scales[start // BLOCK : start // BLOCK + (stop - start) // width].unsqueeze(1)
                torch.mul(quanta[start:stop].view(-1, width), own, out=out[start:stop].view(-1, width))


INT8 = Quantised("int8", bits=8, levels=127)
INT4 = Quantised("int4", bits=4, levels=7)


def _blocks(count: int) -> int:
    return -(-count // BLOCK)


def _quantise_(blocks: Tensor, chances: Tensor, scales: Tensor, quanta: Tensor, levels: int) -> None:
    """scales [b] (bfloat16) and quanta [b, width] (int8) <- blocks [b, width]."""
    # not aminmax: along rows it takes fourteen times as long
    right = blocks.abs().amax(dim=1).div_(levels).clamp_(max=LARGEST_SCALE / levels)
    scales.copy_(right)
    # rounded up, or the largest value would not fit: the next bfloat16 is the next integer of its bits
    scales.view(torch.int16).add_(scales.float() < right)
    used = scales.float()
    is_unused = used < SMALLEST_SCALE
    scales.masked_fill_(is_unused, 0.0)
    inverse = used.reciprocal_().masked_fill_(is_unused, 0.0).unsqueeze(1)
    quanta.copy_(torch.mul(blocks, inverse).add_(chances).floor_().clamp_(-levels, levels))


def _pack_(quanta: Tensor, out: Tensor) -> None:
    unsigned = (quanta + 8).view(torch.uint8)
    pairs = unsigned.numel() // 2
    torch.bitwise_or(unsigned[0 : 2 * pairs : 2], unsigned[1::2] << 4, out=out[:pairs])
    if unsigned.numel() % 2:
        out[pairs] = unsigned[-1]


def _unpacked(packed: Tensor, count: int) -> Tensor:
    pairs = torch.stack((packed & 15, packed >> 4), dim=1)
    return pairs.view(torch.int8).view(-1)[:count] - 8
