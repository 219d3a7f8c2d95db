"""Which numbers a bench can work with. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from marfl_peer.config import MAX_GROUP_SIZE, parse_codec
from marfl_peer.errors import ConfigError
from marfl_peer.lab.links import Rates

EVERY_CODEC = ("float32", "bfloat16", "float16", "int8", "int4", "topk")
MAX_VECTOR_BYTES = 1 << 30
VECTOR_STEP_BYTES = 8
"""Theta and momentum are of equal length, in float32."""
MAX_PEERS = 1024
MAX_REPEATS = 100_000
RATE_UNITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
SLOWEST_RATE, FASTEST_RATE = 10**6, 100 * 10**9


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


def rates(members: int, link_rate: str | None, slow_members: str | None, slow_rate: str | None) -> Rates | None:
    """Of the links of all members; None where their rate is not given. Raises: ConfigError."""
    if link_rate is None:
        for flag, text in (("--slow-members", slow_members), ("--slow-rate", slow_rate)):
            if text is not None:
                raise ConfigError(flag, text, "needs --link-rate, the rate of all other links")
        return None
    rate = _rate("--link-rate", link_rate)
    if slow_members is None and slow_rate is None:
        return Rates(rate)
    if slow_rate is None:
        raise ConfigError("--slow-members", slow_members, "needs --slow-rate, the rate of these members' links")
    slow = whole("--slow-members", "1" if slow_members is None else slow_members, minimum=1, maximum=members)
    return Rates(rate, slow, _rate("--slow-rate", slow_rate))


def _rate(flag: str, text: str) -> int:
    """Bits a second."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(kbit|mbit|gbit)", text.strip().lower())
    rate = round(float(match[1]) * RATE_UNITS[match[2]]) if match is not None else 0
    if not SLOWEST_RATE <= rate <= FASTEST_RATE:
        raise ConfigError(flag, text, "write a rate from 1mbit to 100gbit, such as 1gbit or 100mbit")
    return rate


def vector_bytes(flag: str, text: str) -> int:
    """Raises: ConfigError."""
    size = whole(flag, text, minimum=VECTOR_STEP_BYTES, maximum=MAX_VECTOR_BYTES)
    if size % VECTOR_STEP_BYTES:
        nearest = size - size % VECTOR_STEP_BYTES
        remedy = f"must be a multiple of {VECTOR_STEP_BYTES}, half theta and half momentum in float32: write {nearest}"
        raise ConfigError(flag, text, remedy)
    return size


def peer_numbers(flag: str, text: str) -> list[int]:
    """Of a list such as 16,64,125, each number once. Raises: ConfigError."""
    return list(dict.fromkeys(whole(flag, part, minimum=2, maximum=MAX_PEERS) for part in text.split(",")))


def codec_names(texts: Sequence[str]) -> list[str]:
    """Names of single codecs, or "all", each once. Raises: ConfigError."""
    names = list[str]()
    for text in texts:
        if "=" in text:
            raise ConfigError("--codec", text, "write one codec at a time, and --codec again for the next, or all")
        names += EVERY_CODEC if text == "all" else (parse_codec(text)[0],)
    return list(dict.fromkeys(names))
