"""Codecs by name, and the settings that name one for each part of the vector."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from marfl_peer.averaging.codecs.codec import Codec
from marfl_peer.averaging.codecs.float32 import FLOAT32
from marfl_peer.averaging.codecs.halves import BFLOAT16, FLOAT16
from marfl_peer.averaging.codecs.quantised import INT4, INT8
from marfl_peer.averaging.codecs.sparse import TopK
from marfl_peer.errors import ConfigError

DEFAULT_FRACTION = 1 / 16
_PLAIN: dict[str, Codec] = {codec.name: codec for codec in (FLOAT32, BFLOAT16, FLOAT16, INT8, INT4)}
_PARTS = ("theta", "momentum")
NAMES = (*_PLAIN, "topk", "topk:FRACTION")


@dataclass(frozen=True, slots=True)
class Codecs:
    """What each part of the vector travels in; float buffers are few and always travel as they are."""

    theta: Codec
    momentum: Codec

    @property
    def name(self) -> str:
        """As a setting: what `parse_codecs` takes."""
        if self.theta == self.momentum:
            return self.theta.name
        return f"theta={self.theta.name},momentum={self.momentum.name}"


@lru_cache(maxsize=16)
def parse_codecs(text: str) -> Codecs:
    """Reads `NAME` or `theta=NAME,momentum=NAME`; the part that is not named travels as float32.

    Raises: ConfigError.
    """
    if "=" not in text:
        codec = _codec(text, text)
        return Codecs(theta=codec, momentum=codec)
    chosen: dict[str, Codec] = {}
    for item in text.split(","):
        part, _, name = item.strip().partition("=")
        if part not in _PARTS or part in chosen:
            remedy = f"give each of {' and '.join(_PARTS)} once at most: theta=int8,momentum=int4"
            raise ConfigError("codec", text, remedy)
        chosen[part] = _codec(name, text)
    return Codecs(theta=chosen.get("theta", FLOAT32), momentum=chosen.get("momentum", FLOAT32))


def _codec(name: str, text: str) -> Codec:
    kind, _, parameter = name.partition(":")
    if kind == "topk":
        return TopK(_fraction(parameter, text))
    codec = _PLAIN.get(name)
    if codec is None:
        raise ConfigError("codec", text, f"there is no codec {name!r}: use one of {', '.join(NAMES)}")
    return codec


def _fraction(parameter: str, text: str) -> float:
    try:
        fraction = float(parameter) if parameter else DEFAULT_FRACTION
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise ConfigError("codec", text, "the fraction of topk is above 0 and at most 1: topk:0.05")
    return fraction
