from __future__ import annotations

import dataclasses

import pytest

from marfl_peer.config import Settings
from marfl_peer.peer.doctor.addresses import AddressSeen, judge_address, look_at_address
from marfl_peer.peer.doctor.findings import Severity
from marfl_peer.peer.doctor.interfaces import Interface

LO = Interface(name="lo", addresses=("127.0.0.1",), mtu=65536)
ETH = Interface(name="eth0", addresses=("192.168.1.5",), mtu=1500)
WLAN = Interface(name="wlan0", addresses=("10.9.0.5",), mtu=1500)
DOCKER = Interface(name="docker0", addresses=("172.17.0.1",), mtu=1500)
GOOD = AddressSeen(
    host="auto", announced="192.168.1.5", interfaces=(DOCKER, ETH, LO, WLAN), route="192.168.1.5", bootstrap="seed:7700"
)


def with_eth(**changes: object) -> tuple[Interface, ...]:
    return (dataclasses.replace(ETH, **changes), LO, WLAN)


PLANTED = {
    "loopback": (
        {"announced": "127.0.0.1"},
        "address_loopback",
        Severity.FAILURE,
        "--host 192.168.1.5: nobody on another machine",
    ),
    "loopback, no bootstrap": (
        {"announced": "127.0.0.1", "route": None, "bootstrap": None},
        "address_loopback",
        Severity.WARNING,
        "--host 192.168.1.5",
    ),
    "docker0": (
        {"announced": "172.17.0.1"},
        "address_inner",
        Severity.FAILURE,
        "--host 192.168.1.5: docker0 leads to containers",
    ),
    "another interface": (
        {"announced": "10.9.0.5", "host": "10.9.0.5"},
        "address_other_interface",
        Severity.WARNING,
        "--host 192.168.1.5, which the system uses towards seed:7700",
    ),
    "not here": (
        {"announced": "198.51.100.9", "host": "198.51.100.9"},
        "address_not_here",
        Severity.WARNING,
        "forwarded to this machine (NAT)",
    ),
    "behind NAT": (
        {"bootstrap": "203.0.113.2:7700"},
        "address_behind_nat",
        Severity.WARNING,
        "give --dial-only, or forward TCP and UDP",
    ),
    "down": ({"interfaces": with_eth(is_up=False)}, "address_down", Severity.FAILURE, "bring eth0 up"),
    "small MTU": ({"interfaces": with_eth(mtu=576)}, "mtu_small", Severity.WARNING, "1280 or more"),
    "jumbo frames": ({"interfaces": with_eth(mtu=9000)}, "mtu_large", Severity.WARNING, "mtu 1500"),
    "no multicast": (
        {"interfaces": with_eth(has_multicast=False), "is_lan": True},
        "multicast_off",
        Severity.WARNING,
        "--bootstrap HOST:PORT in place of --lan",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_problem_is_named_with_its_remedy(name: str) -> None:
    changes, code, severity, remedy = PLANTED[name]
    found = [one for one in judge_address(dataclasses.replace(GOOD, **changes)) if one.severity is not Severity.OK]
    assert [(one.code, one.severity) for one in found] == [(code, severity)]
    assert remedy in found[0].remedy


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"is_lan": True},
        {"announced": "127.0.0.1", "route": "127.0.0.1"},
        {"interfaces": with_eth(mtu=9000)[:2]},
        {"interfaces": ()},
    ],
)
def test_good_address_has_no_remedy(changes: dict[str, object]) -> None:
    assert {one.severity for one in judge_address(dataclasses.replace(GOOD, **changes))} == {Severity.OK}


def test_way_to_a_peer_on_this_machine_is_loopback() -> None:
    seen = look_at_address(Settings(bootstrap=("127.0.0.1:7700",)))
    assert (seen.announced, seen.route, seen.bootstrap) == ("127.0.0.1", "127.0.0.1", "127.0.0.1:7700")


def test_name_of_this_machine_is_looked_up() -> None:
    assert look_at_address(Settings(host="localhost")).announced == "127.0.0.1"


def test_address_of_a_peer_that_only_dials_is_judged_by_nobody_but_its_way() -> None:
    bad = dataclasses.replace(GOOD, announced="172.17.0.1", interfaces=with_eth(mtu=576), is_lan=True)
    seen = dataclasses.replace(bad, announced="192.168.1.5", is_dial_only=True)
    findings = judge_address(seen)
    assert [finding.code for finding in findings] == ["dial_only", "mtu_small"]
    assert findings[0].severity is Severity.OK
    assert "no port need be open" in findings[0].remedy
    assert look_at_address(Settings(dial_only=True, bootstrap=("127.0.0.1:7700",))).is_dial_only
