"""What is made of the kernel's counters."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import pytest

from marfl_peer.ids import PeerId
from marfl_peer.network.tcp_info import TcpCounters
from marfl_peer.network.uplink import BUSY_BYTES, ENOUGH_BYTES, SAMPLES, TICK_S, Uplink, rate_between

Pairs = dict[str, tuple[int, float]]

MB = 1_000_000
MEMBER, ANOTHER = PeerId("1" * 40), PeerId("2" * 40)


def reading(pairs: Pairs) -> dict[str, TcpCounters]:
    return {name: TcpCounters(acked, seconds) for name, (acked, seconds) in pairs.items()}


@pytest.mark.parametrize(
    ("before", "after", "rate"),
    [
        ({}, {}, None),
        ({"a": (0, 0.0)}, {"a": (2 * MB, 0.5)}, 4 * MB),
        # Connections that are busy share the link.
        ({"a": (0, 0.0), "b": (5, 1.0)}, {"a": (2 * MB, 1.0), "b": (2 * MB + 5, 2.0)}, 4 * MB),
        # Too little in all; enough in all, but one of them hardly spoke, and waited long for its few words.
        ({"a": (0, 0.0)}, {"a": (ENOUGH_BYTES - 1, 1.0)}, None),
        ({"a": (0, 0.0), "b": (0, 0.0)}, {"a": (2 * MB, 1.0), "b": (BUSY_BYTES - 1, 50.0)}, 2 * MB),
        # So quick that the clock shows nothing.
        ({"a": (0, 1.0)}, {"a": (2 * MB, 1.0)}, 2 * MB / TICK_S),
        # A new connection in between, one that closed, one that is another by the same name.
        ({}, {"a": (2 * MB, 1.0)}, 2 * MB),
        ({"a": (9 * MB, 9.0), "b": (0, 0.0)}, {"b": (2 * MB, 1.0)}, 2 * MB),
        ({"a": (9 * MB, 9.0)}, {"a": (2 * MB, 1.0)}, 2 * MB),
        ({"a": (1 * MB, 9.0)}, {"a": (3 * MB, 1.0)}, 3 * MB),
    ],
)
def test_rate_of_all_connections_between_two_readings(before: Pairs, after: Pairs, rate: float | None) -> None:
    assert rate_between(reading(before), reading(after)) == (None if rate is None else pytest.approx(rate))


class Kernel:
    """Counts one connection to each of the peers that are asked for: all carry the same."""

    def __init__(self) -> None:
        self.acked, self.seconds = 0, 0.0
        self.asked: list[PeerId] = []

    def read(self, peers: Iterable[PeerId]) -> dict[Hashable, TcpCounters]:
        asked = list(peers)
        self.asked += asked
        return {peer: TcpCounters(self.acked, self.seconds) for peer in asked}

    def carry(self, count: int, rate: float) -> None:
        self.acked += count
        self.seconds += count / rate


def test_nothing_is_known_before_an_exchange_is_over() -> None:
    kernel = Kernel()
    uplink = Uplink(kernel.read)
    assert uplink.bytes_per_s == 0.0
    uplink.begins("x", [MEMBER])
    kernel.carry(4 * MB, 2 * MB)
    assert uplink.bytes_per_s == 0.0
    uplink.ends("x")
    assert uplink.bytes_per_s == pytest.approx(2 * MB)


def test_what_is_sent_between_exchanges_does_not_count() -> None:
    kernel = Kernel()
    uplink = Uplink(kernel.read)
    kernel.carry(40 * MB, MB)
    for name in ("x", "y"):
        uplink.begins(name, [MEMBER])
        kernel.carry(4 * MB, 8 * MB)
        uplink.ends(name)
        kernel.carry(40 * MB, MB)
    assert uplink.bytes_per_s == pytest.approx(8 * MB)


def test_exchanges_beside_each_other_are_measured_as_one_and_an_end_counts_once() -> None:
    kernel = Kernel()
    uplink = Uplink(kernel.read)
    uplink.begins("x", [MEMBER])
    uplink.begins("y", [MEMBER])
    uplink.begins("y", [MEMBER])
    kernel.carry(2 * MB, MB)
    uplink.ends("x")
    uplink.ends("x")
    assert (uplink.bytes_per_s, kernel.asked) == (0.0, [MEMBER])
    kernel.carry(2 * MB, MB)
    uplink.ends("y")
    uplink.ends("y")
    uplink.ends("z")
    assert (uplink.bytes_per_s, kernel.asked) == (pytest.approx(MB), [MEMBER, MEMBER])


def test_another_member_counts_from_where_its_exchange_begins() -> None:
    kernel = Kernel()
    uplink = Uplink(kernel.read)
    uplink.begins("x", [MEMBER])
    kernel.carry(2 * MB, MB)
    uplink.begins("y", [MEMBER, ANOTHER])
    kernel.carry(2 * MB, MB)
    uplink.ends("x")
    uplink.ends("y")
    assert uplink.bytes_per_s == pytest.approx(2 * MB)
    assert kernel.asked == [MEMBER, ANOTHER, MEMBER, ANOTHER]


def test_small_exchanges_leave_what_is_known() -> None:
    kernel = Kernel()
    uplink = Uplink(kernel.read)
    for count, rate in ((4 * MB, 5 * MB), (1000, 10.0)):
        uplink.begins("x", [MEMBER])
        kernel.carry(count, rate)
        uplink.ends("x")
    assert uplink.bytes_per_s == pytest.approx(5 * MB)


def test_one_odd_exchange_changes_nothing_and_lasting_change_does() -> None:
    kernel = Kernel()
    uplink = Uplink(kernel.read)
    known = []
    for rate in [8 * MB] * SAMPLES + [MB] + [8 * MB] * SAMPLES + [2 * MB] * SAMPLES:
        uplink.begins("x", [MEMBER])
        kernel.carry(4 * MB, rate)
        uplink.ends("x")
        known.append(uplink.bytes_per_s)
    assert known[: 2 * SAMPLES + 1] == pytest.approx([8 * MB] * (2 * SAMPLES + 1))
    assert known[-1] == pytest.approx(2 * MB)
