"""Encoding by one peer in one exchange: differences from the base, what rounding left over, and chances that are equal
wherever inputs are.

Knows vectors and codecs; not who sends what to whom. Every segment that is encoded leaves a residual, which counts only
once the exchange is complete.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS, chances, encode_with_feedback
from marfl_peer.averaging.codecs.layout import Layout
from marfl_peer.averaging.codecs.residuals import Residuals


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
        self._layout, self._base, self._residuals, self._salt = layout, base, residuals, salt
        self._fed_back, self._decoded = torch.empty(MAX_SEGMENT_FLOATS), torch.empty(MAX_SEGMENT_FLOATS)
        """For what a segment is on its way: the same for all of them stays in the processor's caches."""

    def encodes(self, start: int) -> bool:
        """Whether a segment is anything but the vector's own bytes on the wire."""
        return not self._layout.at(start).codec.is_exact

    def encoded_bytes(self, start: int, stop: int) -> int:
        """How long a segment is as it travels."""
        return self._layout.at(start).codec.encoded_bytes(stop - start)

    def taken_off(self, vector: Tensor, start: int, stop: int) -> Tensor:
        """What of `vector` [n] travels: the difference from the base, where the section says so."""
        values = vector[start:stop]
        return values - self._base[start:stop] if self._layout.at(start).is_delta else values

    def put_on_(self, out: Tensor, values: Tensor, start: int, stop: int) -> None:
        """out[start:stop] <- what `values` [stop - start] stand for."""
        if self._layout.at(start).is_delta:
            torch.add(self._base[start:stop], values, out=out[start:stop])
        else:
            out[start:stop].copy_(values)

    def encode(self, values: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """(bytes, what everybody decodes from them) of a segment, which is encoded once: as a part or as a result. The
        second is there until the next call."""
        codec = self._layout.at(start).codec
        out = torch.empty(codec.encoded_bytes(values.numel()), dtype=torch.uint8)
        drawn, decoded = chances(self._seed(start), values.numel()), self._decoded[: values.numel()]
        residual = self._residuals.at(start, self._fed_back)
        left = encode_with_feedback(codec, values, residual, out, drawn, decoded)
        self.left.keep(start, left, is_whole=codec.leaves_values)
        return out, decoded

    def let_go(self) -> None:
        """Nothing is encoded any more, and who needs what is left over has it."""
        self.left = self._residuals = Residuals()

    def decode(self, data: Tensor, start: int, stop: int) -> Tensor:
        """The values in a segment's bytes. Raises: RemoteProtocolError."""
        out = torch.empty(stop - start)
        self.decode_(out, data, start)
        return out

    def decode_(self, out: Tensor, data: Tensor, start: int) -> None:
        """out [length of the segment] <- the values in its bytes. Raises: RemoteProtocolError."""
        self._layout.at(start).codec.decode(data, out)

    def decode_on_(self, out: Tensor, data: Tensor, start: int, stop: int) -> None:
        """out[start:stop] <- what a segment's bytes stand for. Raises: RemoteProtocolError."""
        values = out[start:stop]
        self.decode_(values, data, start)
        if self._layout.at(start).is_delta:
            values.add_(self._base[start:stop])

    def _seed(self, start: int) -> int:
        text = f"{self._salt} {start}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
