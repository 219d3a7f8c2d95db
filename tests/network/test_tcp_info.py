"""What the kernel says of a connection, and of what is none."""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

import pytest
from test_connection import pair, until

from marfl_peer.network import tcp_info
from marfl_peer.network.tcp_info import TcpCounters, counters_in, counters_of
from marfl_peer.protocol.messages import StatePart

needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts")


def info(acked: int, busy_us: int, refused_us: int) -> bytes:
    return bytes(120) + struct.pack("=QQIIIIIIQQQQ", acked, 1, 2, 3, 4, 5, 6, 7, 8, busy_us, refused_us, 9)


@pytest.mark.parametrize(
    ("bytes_of_it", "counters"),
    [
        (info(1000, 500_000, 0), TcpCounters(1000, 0.5)),
        (info(2**63, 500_000, 100_000), TcpCounters(2**63, 0.4)),
        (info(7, 100, 200), TcpCounters(7, 0.0)),
        (info(7, 2_000_000, 0) + bytes(100), TcpCounters(7, 2.0)),
        (info(7, 2_000_000, 0)[:184], TcpCounters(7, 2.0)),
        (info(7, 2_000_000, 0)[:183], None),
        (bytes(104), None),
        (b"", None),
    ],
)
def test_counters_are_read_where_linux_keeps_them(bytes_of_it: bytes, counters: TcpCounters | None) -> None:
    assert counters_in(bytes_of_it) == counters


@needs_linux
def test_kernel_counts_what_a_connection_brought(on_both_loops) -> None:
    async def main() -> None:
        async with pair() as (one, other):
            for _ in range(8):
                one.connection.send(StatePart(iteration=1, offset=0), bytes(250_000))
            await until(lambda: len(other.frames) == 8)
            before = one.connection.counters()
            assert before is not None
            await until(lambda: (one.connection.counters() or before).acked_bytes >= 2_000_000)
            counters = one.connection.counters()
            assert counters is not None
            assert counters.acked_bytes <= sum(one.traffic.sent.values()) + 1
            assert counters.sending_s >= 0.0
            one.connection.close()
            await until(lambda: one.is_closed)
            assert one.connection.counters() is None

    on_both_loops(main())


def test_nothing_is_known_of_what_is_no_tcp_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert counters_of(None) is None
    with socket.socket(socket.AF_UNIX) as unix:
        assert counters_of(unix) is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        assert counters_of(udp) is None
    closed = socket.socket(socket.AF_INET)
    closed.close()
    assert counters_of(closed) is None
    monkeypatch.setattr(tcp_info.sys, "platform", "darwin")
    with socket.socket(socket.AF_INET) as tcp:
        assert counters_of(tcp) is None
