from __future__ import annotations

from pathlib import Path

import pytest

from marfl_peer.peer.doctor.interfaces import Interface, interface_of, look_at_interfaces, outer_addresses

LO = Interface(name="lo", addresses=("127.0.0.1", "::1"), mtu=65536)
ETH = Interface(name="eth0", addresses=("192.168.1.5", "2001:db8::5", "fe80::1"), mtu=1500)
DOCKER = Interface(name="docker0", addresses=("172.17.0.1",), mtu=1500)
DOWN = Interface(name="eth1", addresses=("10.0.0.5",), mtu=1500, is_up=False)
ALL = (DOCKER, ETH, DOWN, LO)


def test_loopback_of_this_machine_is_seen() -> None:
    found = {interface.name: interface for interface in look_at_interfaces()}
    assert found["lo"].is_loopback
    assert "127.0.0.1" in found["lo"].addresses
    assert found["lo"].mtu > 0


def test_what_the_system_says_of_an_interface_is_read(tmp_path: Path) -> None:
    for name, text in {"flags": "0x1002\n", "operstate": "down\n", "mtu": "1400\n"}.items():
        (tmp_path / "lo").mkdir(exist_ok=True)
        (tmp_path / "lo" / name).write_text(text)
    (lo,) = (interface for interface in look_at_interfaces(tmp_path) if interface.name == "lo")
    assert (lo.mtu, lo.is_up, lo.has_multicast) == (1400, False, True)


@pytest.mark.parametrize(
    ("name", "is_inner"),
    [("docker0", True), ("br-1a2b3c", True), ("virbr0", True), ("veth12", True), ("eth0", False), ("bond0", False)],
)
def test_bridges_to_containers_are_told_from_the_network(name: str, is_inner: bool) -> None:
    assert Interface(name=name, addresses=(), mtu=1500).is_inner is is_inner


def test_interface_is_found_by_its_address() -> None:
    assert interface_of("2001:db8::5", ALL) is ETH
    assert interface_of("127.8.8.8", ALL) is LO
    assert interface_of("8.8.8.8", ALL) is None


def test_addresses_that_others_may_reach_come_without_those_that_they_cannot() -> None:
    assert outer_addresses(ALL) == ["192.168.1.5", "2001:db8::5"]
