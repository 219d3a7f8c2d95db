"""What the kernel counts of one TCP connection: bytes that the other end acknowledged, and the time that took.

Knows where Linux keeps the figures in its `struct tcp_info`; elsewhere, and of older kernels, nothing is known.
"""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from typing import Any

_TCP_INFO = 11
_ROOM_BYTES = 256
_ACKED = struct.Struct("=Q")
_ACKED_AT = 120
_TIMES = struct.Struct("=QQ")
_TIMES_AT = 168
"""Busy with sending, and of that with a receiver that took no more, in microseconds."""

_SHORTEST = struct.Struct("=I")
_SHORTEST_AT = 148
"""The shortest round trip, in microseconds."""
_NO_TIME = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class TcpCounters:
    """Since the connection began. `sending_s`: how long there was something to send that the other end had room for."""

    acked_bytes: int
    sending_s: float


def counters_in(info: bytes) -> TcpCounters | None:
    """The counters in a `struct tcp_info`; None in one that is too short for them."""
    if len(info) < _TIMES_AT + _TIMES.size:
        return None
    (acked,) = _ACKED.unpack_from(info, _ACKED_AT)
    busy, refused = _TIMES.unpack_from(info, _TIMES_AT)
    return TcpCounters(acked_bytes=acked, sending_s=max(busy - refused, 0) / 1e6)


def round_trip_in(info: bytes) -> float | None:
    """The shortest round trip in a `struct tcp_info`; None before the first, and in one that is too short."""
    if len(info) < _SHORTEST_AT + _SHORTEST.size:
        return None
    (shortest,) = _SHORTEST.unpack_from(info, _SHORTEST_AT)
    return shortest / 1e6 if 0 < shortest < _NO_TIME else None


def counters_of(raw: Any) -> TcpCounters | None:
    """The counters of a connection's socket, as its transport gives it (asyncio's and uvloop's are only alike).

    None where it has none: on another system, in a simulated world, or when it is closed.
    """
    info = _info_of(raw)
    return None if info is None else counters_in(info)


def shortest_round_trip_s(raw: Any) -> float | None:
    """Of a connection's socket; None where that is not known."""
    info = _info_of(raw)
    return None if info is None else round_trip_in(info)


def _info_of(raw: Any) -> bytes | None:
    if not sys.platform.startswith("linux") or getattr(raw, "family", None) not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        return bytes(raw.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ROOM_BYTES))
    except OSError:
        return None
