from __future__ import annotations

import asyncio
import struct

import pytest

from marfl_peer.clock import Clock
from marfl_peer.peer.doctor.clocks import NTP_EPOCH_S, ClockSeen, judge_clock, look_at_ntp
from marfl_peer.peer.doctor.findings import Severity


class Fixed(Clock):
    def wall(self) -> float:
        return 1_000_000.0


class TimeServer(asyncio.DatagramProtocol):
    """`ahead_s` of everybody else; with stratum 0 it knows no time."""

    def __init__(self, ahead_s: float, stratum: int) -> None:
        self._ahead_s, self._stratum = ahead_s, stratum

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        assert len(data) == 48
        stamp = struct.pack("!II", int(1_000_000 + self._ahead_s + NTP_EPOCH_S), 1 << 31)
        self._transport.sendto(bytes((0x24, self._stratum)) + bytes(30) + stamp + stamp, address)


def asked(on_loop, *, ahead_s: float, stratum: int = 2) -> ClockSeen:
    async def main() -> ClockSeen:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: TimeServer(ahead_s, stratum), local_addr=("127.0.0.1", 0)
        )
        port = transport.get_extra_info("sockname")[1]
        seen = await look_at_ntp("127.0.0.1", timeout_s=20.0, clock=Fixed(), port=port)
        transport.close()
        return seen

    return on_loop(main())


def test_time_server_tells_how_far_off_the_clock_is(on_loop) -> None:
    assert asked(on_loop, ahead_s=400.0) == ClockSeen(source="127.0.0.1", ahead_s=400.5)


def test_server_that_knows_no_time_is_none(on_loop) -> None:
    assert asked(on_loop, ahead_s=400.0, stratum=0).ahead_s is None


def test_server_that_is_not_there_is_none(on_loop) -> None:
    seen = on_loop(look_at_ntp("127.0.0.1", timeout_s=0.05, clock=Fixed(), port=1))
    assert seen.ahead_s is None


@pytest.mark.parametrize(
    ("ahead_s", "code", "severity", "remedy"),
    [
        (0.2, "clock", Severity.OK, ""),
        (-29.0, "clock", Severity.OK, ""),
        (-45.0, "clock_off", Severity.WARNING, "timedatectl set-ntp true"),
        (301.0, "clock_stale", Severity.FAILURE, "timedatectl set-ntp true"),
        (None, "clock_unknown", Severity.WARNING, "--ntp"),
    ],
)
def test_clocks_that_are_apart_are_told(ahead_s: float | None, code: str, severity: Severity, remedy: str) -> None:
    finding = judge_clock(ClockSeen(source="seed:7700", ahead_s=ahead_s))
    assert (finding.code, finding.severity) == (code, severity)
    assert remedy in finding.remedy


def test_who_is_late_is_told_from_who_is_early() -> None:
    assert "45.0 s behind that of" in judge_clock(ClockSeen(source="s", ahead_s=45.0)).seen
    assert "45.0 s ahead of that of" in judge_clock(ClockSeen(source="s", ahead_s=-45.0)).seen
