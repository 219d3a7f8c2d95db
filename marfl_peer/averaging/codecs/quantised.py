"""Few bits a value: blocks of 128 integers with one bfloat16 scale each, rounded up or down by chance (unbiased).

Layout of a segment of n values: ceil(n / 128) scales, then n integers; of int4 two to a byte, the first in the low
half. QSGD, arXiv 1610.02132; block-wise scales as in arXiv 2110.02861.

In C, or by numpy and in place: a call of torch costs as much here as what it does to a segment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from marfl_peer.averaging import kernels
from marfl_peer.averaging.kernels import Floats

BLOCK = 128
SCALE_BYTES = 2
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Below it 1 / scale overflows: such values count as zeros until feedback has gathered enough of them."""
LARGEST_SCALE = float(np.finfo(np.float32).max) * (1 - 2**-7)
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

    def encode(self, values: Tensor, out: Tensor, chances: Tensor, decoded: Tensor | None = None) -> None:
        floats, encoded, drawn = values.numpy(), out.numpy(), chances.numpy()
        if kernels.native is not None:
            told = None if decoded is None else decoded.numpy()
            kernels.native.encode(self.bits, floats, None, None, drawn, encoded, told, None)
            return
        count = len(floats)
        cut, body = _blocks(count) * SCALE_BYTES, count - count % BLOCK
        scales, work = encoded[:cut].view(np.uint16), np.empty_like(floats) if decoded is None else decoded.numpy()
        quanta = encoded[cut:].view(np.int8) if self.bits == 8 else np.empty(count, np.int8)
        for start, stop, width in ((0, body, BLOCK), (body, count, count - body)):
            if start < stop:
                whole, shape = start // BLOCK, (-1, width)
                _quantise_(
                    floats[start:stop].reshape(shape),
                    drawn[start:stop].reshape(shape),
                    scales[whole : whole + (stop - start) // width],
                    quanta[start:stop].reshape(shape),
                    work[start:stop].reshape(shape),
                    self.levels,
                )
        if self.bits == 4:
            _pack_(quanta, encoded[cut:])

    def decode(self, encoded: Tensor, out: Tensor) -> None:
        data, floats = encoded.numpy(), out.numpy()
        if kernels.native is not None:
            kernels.native.decode(self.bits, data, None, floats)
            return
        count = len(floats)
        cut, body = _blocks(count) * SCALE_BYTES, count - count % BLOCK
        scales = _from_bfloat16(data[:cut].view(np.uint16))
        floats[:] = data[cut:].view(np.int8) if self.bits == 8 else _unpacked(data[cut:], count)
        blocks, rest = floats[:body].reshape(-1, BLOCK), floats[body:]
        with np.errstate(over="ignore", invalid="ignore"):  # a liar's scales
            blocks *= scales[: len(blocks), None]
            rest *= scales[len(blocks) :]


INT8 = Quantised("int8", bits=8, levels=127)
INT4 = Quantised("int4", bits=4, levels=7)


def _blocks(count: int) -> int:
    return -(-count // BLOCK)


def _quantise_(
    blocks: Floats, chances: Floats, scales: NDArray[np.uint16], quanta: NDArray[np.int8], decoded: Floats, levels: int
) -> None:
    """scales [b] (bfloat16), quanta [b, width] and decoded [b, width] <- blocks [b, width]."""
    np.absolute(blocks, out=decoded)
    # as integers, which are in the same order: of a row of floats it takes three times as long
    right = np.maximum.reduce(decoded.view(np.int32), axis=1).view(np.float32)
    right /= np.float32(levels)
    np.minimum(right, np.float32(LARGEST_SCALE / levels), out=right)
    # rounded up, or the largest value would not fit
    scales[:] = (right.view(np.uint32) + np.uint32(0xFFFF)) >> np.uint32(16)
    used = _from_bfloat16(scales)
    is_used = used >= SMALLEST_SCALE
    scales *= is_used
    used *= is_used
    inverse = np.zeros_like(used)
    np.divide(np.float32(1), used, out=inverse, where=is_used)
    np.multiply(blocks, inverse[:, None], out=decoded)
    decoded += chances
    np.floor(decoded, out=decoded)
    np.clip(decoded, -levels, levels, out=decoded)
    np.copyto(quanta, decoded, casting="unsafe")
    decoded *= used[:, None]  # as `decode` does: no zero is negative here


def _from_bfloat16(bits: NDArray[np.uint16]) -> Floats:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _pack_(quanta: NDArray[np.int8], out: NDArray[np.uint8]) -> None:
    unsigned = (quanta + np.int8(8)).view(np.uint8)
    pairs = len(unsigned) // 2
    np.bitwise_or(unsigned[0 : 2 * pairs : 2], unsigned[1::2] << np.uint8(4), out=out[:pairs])
    if len(unsigned) % 2:
        out[pairs] = unsigned[-1]


def _unpacked(packed: NDArray[np.uint8], count: int) -> NDArray[np.int8]:
    quanta = np.empty((len(packed), 2), np.int8)
    quanta[:, 0] = packed & np.uint8(15)
    quanta[:, 1] = packed >> np.uint8(4)
    quanta -= np.int8(8)
    return quanta.reshape(-1)[:count]
