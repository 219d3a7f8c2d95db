"""Which numbers a bench can work with. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from marfl_peer.config import MAX_GROUP_SIZE, parse_codec
from marfl_peer.errors import ConfigError

EVERY_CODEC = ("float32", "bfloat16", "float16", "int8", "int4", "topk")
MAX_VECTOR_BYTES = 1 << 30
VECTOR_STEP_BYTES = 8
"""Theta and momentum are of equal length, in float32."""
MAX_PEERS = 1024
MAX_REPEATS = 100_000


def whole(flag: str, text: str, *, minimum: int, maximum: int) -> int:
    """The whole number that a flag gives. Raises: ConfigError."""
    if re.fullmatch(r"[0-9]{1,18}", text.strip()) is None or not minimum <= int(text) <= maximum:
        raise ConfigError(flag, text, f"write a whole number from {minimum} to {maximum}")
    return int(text)


def members(text: str) -> int:
    """Raises: ConfigError."""
    return whole("--members", text, minimum=2, maximum=MAX_GROUP_SIZE)


def peers(text: str) -> int:
    """Raises: ConfigError."""
    return whole("--peers", text, minimum=2, maximum=MAX_PEERS)


def repeats(text: str) -> int:
    """Raises: ConfigError."""
    return whole("--repeats", text, minimum=1, maximum=MAX_REPEATS)


def vector_bytes(flag: str, text: str) -> int:
    """Raises: ConfigError."""
    size = whole(flag, text, minimum=VECTOR_STEP_BYTES, maximum=MAX_VECTOR_BYTES)
    if size % VECTOR_STEP_BYTES:
        nearest = size - size % VECTOR_STEP_BYTES
        remedy = f"must be a multiple of {VECTOR_STEP_BYTES}, half theta and half momentum in float32: write {nearest}"
        raise ConfigError(flag, text, remedy)
    return size


def peer_numbers(text: str) -> list[int]:
    """Of a list such as 16,64,125, each number once. Raises: ConfigError."""
    return list(dict.fromkeys(peers(part) for part in text.split(",")))


def codec_names(texts: Sequence[str]) -> list[str]:
    """Names of single codecs, or "all", each once. Raises: ConfigError."""
    names = list[str]()
    for text in texts:
        if "=" in text:
            raise ConfigError("--codec", text, "write one codec at a time, and --codec again for the next, or all")
        names += EVERY_CODEC if text == "all" else (parse_codec(text)[0],)
    return list(dict.fromkeys(names))
