"""Which part of a vector travels in which codec, and which as the difference from a state that both ends hold."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from marfl_peer.averaging.codecs.codec import Codec
from marfl_peer.averaging.codecs.float32 import FLOAT32
from marfl_peer.averaging.codecs.registry import Codecs
from marfl_peer.averaging.vector import VectorSchema


@dataclass(frozen=True, slots=True)
class Section:
    """Floats [start, stop) of the vector. `is_delta`: what travels is the difference from the base."""

    start: int
    stop: int
    codec: Codec
    is_delta: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Sections ascend, without a gap between them."""

    sections: tuple[Section, ...]

    @classmethod
    def of(cls, schema: VectorSchema, codecs: Codecs) -> Layout:
        """Theta is near the base, momentum is not; float buffers are few and travel as they are."""
        theta = schema.theta_length
        momentum = theta + (theta if schema.has_momentum else schema.server_length)
        sections = (
            Section(0, theta, codecs.theta, is_delta=not codecs.theta.is_exact),
            Section(theta, momentum, codecs.momentum, is_delta=False),
            Section(momentum, schema.length, FLOAT32, is_delta=False),
        )
        return cls(tuple(section for section in sections if section.start < section.stop))

    @property
    def is_exact(self) -> bool:
        """Whether everything travels as it is: then nothing needs a base."""
        return all(section.codec.is_exact for section in self.sections)

    @property
    def borders(self) -> tuple[int, ...]:
        """Where another way to travel begins: no segment crosses one."""
        pairs = pairwise(self.sections)
        return tuple(
            after.start for before, after in pairs if (before.codec, before.is_delta) != (after.codec, after.is_delta)
        )

    def at(self, start: int) -> Section:
        """The section that a float is in."""
        return self.sections[bisect_right(self.sections, start, key=lambda section: section.start) - 1]
