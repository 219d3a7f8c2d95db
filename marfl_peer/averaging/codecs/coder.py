"""Encoding by one peer in one exchange: differences from the base, what rounding left over, and chances that are equal
wherever inputs are.

Knows vectors and codecs; not who sends what to whom. Every segment that is encoded leaves a residual, which counts only
once the exchange is complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from marfl_peer.averaging import kernels
from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS, Codec, drawn, encode_with_feedback
from marfl_peer.averaging.codecs.layout import Layout
from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.averaging.kernels import BITS, Bytes, Floats
from marfl_peer.averaging.strategies.mean import factors


class Coder:
    """`base` [n] is read. `salt` names the exchange and the peer in it, such that equal inputs go with equal ones.

    Segments are [start, stop) and cross no border of the layout.
    """

    def __init__(
        self, layout: Layout, *, base: Tensor, residuals: Residuals, salt: str, pool: BufferPool | None = None
    ) -> None:
        """`pool`: see Residuals."""
        self.left = Residuals(base.numel(), pool)
        """The new residuals."""
        self._layout, self._base, self._residuals = layout, base.numpy(), residuals
        self._seed = int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest(), "little")
        self._decoded = np.empty(MAX_SEGMENT_FLOATS, np.float32)
        """Of the segment that was encoded last: the same memory for all of them stays in the processor's caches."""
        self._fed_back: Tensor | None = None

    def encodes(self, start: int) -> bool:
        """Whether a segment is anything but the vector's own bytes on the wire."""
        return not self._layout.at(start).codec.is_exact

    def encoded_bytes(self, start: int, stop: int) -> int:
        """How long a segment is as it travels."""
        return self._layout.at(start).codec.encoded_bytes(stop - start)

    def taken_off(self, vector: Floats, start: int, stop: int) -> Floats:
        """What of `vector` [n] travels: the difference from the base, where the section says so."""
        values, base = vector[start:stop], self._base_of(start, stop)
        return values if base is None else values - base

    def put_on_(self, out: Floats, values: Floats, start: int, stop: int) -> None:
        """out[start:stop] <- what `values` [stop - start] stand for."""
        base = self._base_of(start, stop)
        if base is None:
            out[start:stop] = values
        else:
            np.add(base, values, out=out[start:stop])

    def encode_part(self, vector: Floats, start: int, stop: int) -> Bytes:
        """The bytes of what of `vector` [n] travels as a segment."""
        codec = self._layout.at(start).codec
        return self._encode(codec, vector[start:stop], self._base_of(start, stop), start, None)

    def encode_result(self, mean: Floats, start: int) -> tuple[Bytes, Floats]:
        """(bytes, what everybody decodes from them) of the mean of what travelled, [length of the segment]. The second
        is there until another is encoded."""
        decoded = self._decoded[: len(mean)]
        return self._encode(self._layout.at(start).codec, mean, None, start, decoded), decoded

    def combines(self, start: int) -> bool:
        """Whether `combine_` takes what others sent of a segment as it came."""
        return kernels.native is not None and self._layout.at(start).codec.name in BITS

    def combine_(
        self, out: Floats, parts: Sequence[Bytes | None], weights: Sequence[int], vector: Floats, start: int, stop: int
    ) -> tuple[Bytes, bool]:
        """out[start:stop] <- what everybody makes of the weighted mean of a segment's parts; None for what of `vector`
        [n] would travel. Returns (the mean's bytes, whether it is finite). The same as decoding all parts, their mean,
        `encode_result` and `put_on_`, in one pass through memory."""
        assert kernels.native is not None
        codec, count = self._layout.at(start).codec, stop - start
        encoded = np.empty(codec.encoded_bytes(count), np.uint8)
        is_finite = kernels.native.combine(
            BITS[codec.name],
            parts,
            factors(weights),
            vector[start:stop],
            self._base_of(start, stop),
            self._residuals.kept(start),
            drawn(self._seed_of(start), count),
            encoded,
            out[start:stop],
            self.left.room(start, count),
        )
        return encoded, is_finite

    def let_go(self) -> None:
        """Nothing is encoded any more, and who needs what is left over has it."""
        self.left = self._residuals = Residuals()

    def decode(self, data: Bytes, start: int, stop: int) -> Floats:
        """The values in a segment's bytes. Raises: RemoteProtocolError."""
        out = np.empty(stop - start, np.float32)
        self.decode_(out, data, start)
        return out

    def decode_(self, out: Floats, data: Bytes, start: int) -> None:
        """out [length of the segment] <- the values in its bytes. Raises: RemoteProtocolError."""
        _decode_(self._layout.at(start).codec, out, data, None)

    def decode_on_(self, out: Floats, data: Bytes, start: int, stop: int) -> None:
        """out[start:stop] <- what a segment's bytes stand for. Raises: RemoteProtocolError."""
        _decode_(self._layout.at(start).codec, out[start:stop], data, self._base_of(start, stop))

    def _encode(self, codec: Codec, values: Floats, base: Floats | None, start: int, decoded: Floats | None) -> Bytes:
        """Once for every segment: as a part or as a result."""
        count, bits = len(values), BITS.get(codec.name)
        out, chances = np.empty(codec.encoded_bytes(count), np.uint8), drawn(self._seed_of(start), count)
        if kernels.native is not None and bits is not None:
            before, left = self._residuals.kept(start), self.left.room(start, count)
            kernels.native.encode(bits, values, base, before, chances, out, decoded, left)
            return out
        if self._fed_back is None:
            self._fed_back = torch.empty(MAX_SEGMENT_FLOATS)
        rest = encode_with_feedback(
            codec,
            torch.from_numpy(values if base is None else values - base),
            self._residuals.at(start, self._fed_back),
            torch.from_numpy(out),
            torch.from_numpy(chances),
            torch.from_numpy(self._decoded[:count] if decoded is None else decoded),
        )
        self.left.keep(start, rest, is_whole=codec.leaves_values)
        return out

    def _base_of(self, start: int, stop: int) -> Floats | None:
        """What a segment is the difference from; None where it travels in full."""
        return self._base[start:stop] if self._layout.at(start).is_delta else None

    def _seed_of(self, start: int) -> int:
        """Far from that of any other segment: Fibonacci hashing."""
        return (self._seed + start * 0x9E3779B97F4A7C15) >> 40


def _decode_(codec: Codec, out: Floats, data: Bytes, base: Floats | None) -> None:
    bits = BITS.get(codec.name)
    if kernels.native is not None and bits is not None:
        kernels.native.decode(bits, data, base, out)
        return
    codec.decode(torch.from_numpy(data), torch.from_numpy(out))
    if base is not None:
        out += base
