"""Codecs by name, and the setting that names one for each part of the vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from marfl_peer.averaging.codecs.codec import Codec
from marfl_peer.averaging.codecs.float32 import FLOAT32
from marfl_peer.averaging.codecs.halves import BFLOAT16, FLOAT16
from marfl_peer.averaging.codecs.quantised import INT4, INT8
from marfl_peer.averaging.codecs.sparse import TopK
from marfl_peer.config import parse_codec

DEFAULT_FRACTION = 1 / 16
CODECS: Mapping[str, Codec] = MappingProxyType(
    {codec.name: codec for codec in (FLOAT32, BFLOAT16, FLOAT16, INT8, INT4)}
)


@dataclass(frozen=True, slots=True)
class Codecs:
    """What each part of the vector travels in; float buffers are few and always travel as they are."""

    theta: Codec
    momentum: Codec


@lru_cache(maxsize=16)
def parse_codecs(text: str) -> Codecs:
    """Of the setting `codec`. Raises: ConfigError."""
    theta, momentum = parse_codec(text)
    return Codecs(theta=codec_named(theta), momentum=codec_named(momentum))


def codec_named(name: str) -> Codec:
    """A codec that `parse_codec` gave the name of."""
    kind, _, fraction = name.partition(":")
    if kind == "topk":
        return TopK(float(fraction) if fraction else DEFAULT_FRACTION)
    return CODECS[name]
