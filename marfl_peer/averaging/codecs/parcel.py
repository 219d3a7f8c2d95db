"""A whole vector as segments that travel one by one: as it is, or encoded as the difference from a base that both ends
hold. Each end decodes for itself, so nothing has to be equal at others, and nothing is left over for a next time.

Knows layouts and codecs; not whose vector it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor

from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS, chances
from marfl_peer.averaging.codecs.layout import Layout


@dataclass(frozen=True, slots=True)
class Segment:
    """Floats [start, stop) of the vector; encoded they are bytes [at, at + size) of the parcel."""

    start: int
    stop: int
    at: int
    size: int


@dataclass(frozen=True)
class Packing:
    """How every vector of a layout is cut and encoded; the same at both ends."""

    layout: Layout

    @cached_property
    def segments(self) -> Mapping[int, Segment]:
        """By the float that they begin at, ascending."""
        return MappingProxyType({segment.start: segment for segment in self._segments()})

    @property
    def total_bytes(self) -> int:
        return sum(segment.size for segment in self.segments.values())

    @property
    def needs_base(self) -> bool:
        return any(section.is_delta for section in self.layout.sections)

    def wrap(self, vector: Tensor, base: Tensor | None, *, salt: str) -> Tensor:
        """uint8 [total_bytes] of float32 [n], against `base` [n] where that is needed. `salt` seeds the chances by
        which codecs round up or down."""
        parcel = torch.empty(self.total_bytes, dtype=torch.uint8)
        for segment in self.segments.values():
            section = self.layout.at(segment.start)
            values = vector[segment.start : segment.stop]
            if section.is_delta:
                assert base is not None
                values = values - base[segment.start : segment.stop]
            drawn = chances(_seed(salt, segment.start), values.numel())
            out = torch.empty(segment.size, dtype=torch.uint8)  # encoders want their own alignment
            section.codec.encode(values, out, drawn)
            parcel[segment.at : segment.at + segment.size] = out
        return parcel

    def unwrap(self, parcel: Tensor, base: Tensor | None) -> Tensor:
        """float32 [n] of uint8 [total_bytes]. Raises: RemoteProtocolError for bytes that stand for no values."""
        vector = torch.empty(self.layout.sections[-1].stop)
        for segment in self.segments.values():
            section = self.layout.at(segment.start)
            out = vector[segment.start : segment.stop]
            section.codec.decode(parcel[segment.at : segment.at + segment.size].clone(), out)
            if section.is_delta:
                assert base is not None
                out.add_(base[segment.start : segment.stop])
        return vector

    def _segments(self) -> Iterator[Segment]:
        at = 0
        for section in self.layout.sections:
            for start in range(section.start, section.stop, MAX_SEGMENT_FLOATS):
                stop = min(start + MAX_SEGMENT_FLOATS, section.stop)
                size = section.codec.encoded_bytes(stop - start)
                yield Segment(start, stop, at, size)
                at += size


def bytes_of(parcel: Tensor) -> memoryview:
    """The memory of a contiguous uint8 CPU tensor [n]."""
    return memoryview(parcel.numpy())  # type: ignore[arg-type]  # numpy arrays are buffers


def _seed(salt: str, start: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{salt} {start}".encode(), digest_size=8).digest(), "little")
