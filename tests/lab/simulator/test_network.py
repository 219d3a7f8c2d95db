"""Links: how long packets take, and cuts in one direction, in both, and several at once."""

from __future__ import annotations

import pytest
from worlds import world_of

from marfl_peer.lab.simulator.network import Climate


def test_bandwidth_delays_what_comes_behind() -> None:
    world = world_of(2, climate=Climate(latency_s=0.01, jitter_s=0.0, bytes_per_s=1000.0))
    arrivals: list[float] = []
    for _ in range(3):
        world.network.segment(world.hosts[0], world.hosts[1].address, 500, lambda: arrivals.append(world.time))
    world.run(until=lambda: False, deadline=10)
    assert arrivals == pytest.approx([0.51, 1.01, 1.51])


def test_slow_host_sends_slowly() -> None:
    world = world_of(2, climate=Climate(latency_s=0.0, jitter_s=0.0, bytes_per_s=1000.0))
    world.hosts[0].slowness = 4.0
    assert world.network.segment(world.hosts[0], world.hosts[1].address, 500, lambda: None) == pytest.approx(2.0)


def test_cut_holds_in_its_direction_only() -> None:
    world = world_of(2)
    one, other = world.hosts[0], world.hosts[1]
    world.network.cut([one.address], [other.address])
    arrived: list[str] = []
    world.network.segment(one, other.address, 10, lambda: arrived.append("there"))
    world.network.segment(other, one.address, 10, lambda: arrived.append("back"))
    world.run(until=lambda: False, deadline=10)
    assert arrived == ["back"]


def test_cuts_add_up_and_are_mended_one_by_one() -> None:
    world = world_of(2)
    one, other = world.hosts[0].address, world.hosts[1].address
    world.network.cut([one], [other])
    world.network.cut([one], [other])
    world.network.mend([one], [other])
    assert world.network.is_cut(one, other)
    world.network.mend([one], [other])
    assert not world.network.is_cut(one, other)
    world.network.mend([one], [other])
    assert not world.network.is_cut(one, other)


def test_mending_delivers_what_tcp_kept_trying_and_no_datagram() -> None:
    world = world_of(2)
    one, other = world.hosts
    world.network.cut([one.address], [other.address])
    arrived: list[str] = []
    world.network.segment(one, other.address, 10, lambda: arrived.append("segment"))
    world.network.datagram(one, other.address, 10, lambda: arrived.append("datagram"))
    world.call(5.0, lambda: world.network.mend([one.address], [other.address]))
    world.run(until=lambda: False, deadline=10)
    assert arrived == ["segment"]
