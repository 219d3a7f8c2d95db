"""The clock: records of the DHT are stale where clocks are far apart. Compared with peers, and with a time server only
if one is named."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

from marfl_peer.clock import Clock
from marfl_peer.peer.doctor.findings import Finding, fail, ok, warn

STALE_S = 300.0
"""Records of peers whose clocks are further apart are refused."""
FAR_S = 30.0
NTP_PORT = 123
NTP_EPOCH_S = 2_208_988_800
"""From 1900, where NTP begins, to 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSeen:
    """`ahead_s`: how much later it is at `source` than here; None where it did not answer."""

    source: str
    ahead_s: float | None


def judge_clock(seen: ClockSeen) -> Finding:
    if seen.ahead_s is None:
        return warn("clock_unknown", f"{seen.source} does not tell the time", "name another server with --ntp")
    apart_s, way = abs(seen.ahead_s), "behind" if seen.ahead_s > 0 else "ahead of"
    text = f"the clock here is {apart_s:.1f} s {way} that of {seen.source}"
    remedy = "set both clocks by a time server (`timedatectl set-ntp true`)"
    if apart_s >= STALE_S:
        return fail("clock_stale", text, f"{remedy}: records more than {STALE_S:.0f} s apart are refused")
    return warn("clock_off", text, remedy) if apart_s >= FAR_S else ok("clock", text)


async def look_at_ntp(server: str, *, timeout_s: float, clock: Clock, port: int = NTP_PORT) -> ClockSeen:
    """Asks one time server, once."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(server, port, type=socket.SOCK_DGRAM)
            with socket.socket(found[0][0], socket.SOCK_DGRAM) as probe:
                probe.setblocking(False)
                probe.connect(found[0][4])
                sent = clock.wall()
                probe.send(b"\x23" + bytes(47))  # version 4, client
                answer = await loop.sock_recv(probe, 512)
                received = clock.wall()
    except (OSError, TimeoutError, UnicodeError):
        return ClockSeen(source=server, ahead_s=None)
    if len(answer) < 48 or not answer[1]:  # stratum 0: it does not know
        return ClockSeen(source=server, ahead_s=None)
    arrived, left = (_seconds(answer[start : start + 8]) for start in (32, 40))
    return ClockSeen(source=server, ahead_s=((arrived - sent) + (left - received)) / 2)


def _seconds(stamp: bytes) -> float:
    whole, part = struct.unpack("!II", stamp)
    return float(whole) - NTP_EPOCH_S + float(part) / 2**32
