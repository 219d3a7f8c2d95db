"""Where to listen, and what to tell others."""

from __future__ import annotations

import ipaddress

import pytest

from marfl_peer.config import Settings
from marfl_peer.peer import addresses
from marfl_peer.peer.addresses import (
    ANY,
    LOOPBACK,
    announced_address,
    is_behind_nat,
    listening_address,
    nat_warning,
)


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.7", "peer.example"])
def test_host_that_was_given_is_listened_on_and_announced(host: str) -> None:
    settings = Settings(host=host)
    assert (listening_address(settings), announced_address(settings)) == (host, host)


def test_auto_with_a_bootstrap_on_loopback_stays_there() -> None:
    settings = Settings(bootstrap=("127.0.0.1:7700",))
    assert (listening_address(settings), announced_address(settings)) == (LOOPBACK, LOOPBACK)


def test_all_interfaces_are_listened_on_but_never_announced() -> None:
    settings = Settings(host=ANY, bootstrap=("127.0.0.1:7700",))
    assert listening_address(settings) == ANY
    assert announced_address(settings) == LOOPBACK


def test_bootstrap_that_cannot_be_resolved_is_passed_over() -> None:
    settings = Settings(bootstrap=("no-such-host.invalid:1", "127.0.0.1:7700"))
    assert announced_address(settings) == LOOPBACK


def test_auto_announces_an_address_that_can_be_reached() -> None:
    announced = ipaddress.ip_address(announced_address(Settings()))
    assert not announced.is_unspecified
    assert (listening_address(Settings()) == LOOPBACK) == announced.is_loopback


def test_peer_that_only_dials_listens_to_its_own_machine() -> None:
    assert listening_address(Settings(dial_only=True, bootstrap=("203.0.113.2:7700",))) == LOOPBACK


@pytest.mark.parametrize(
    ("announced", "bootstrap", "is_behind"),
    [
        ("192.168.1.5", "203.0.113.2", True),
        ("100.64.0.9", "203.0.113.2", True),
        ("fd00::5", "2001:db8::1", True),
        ("192.168.1.5", "10.0.0.1", False),
        ("192.168.1.5", "peer.example", False),
        ("203.0.113.9", "203.0.113.2", False),
        ("127.0.0.1", "127.0.0.1", False),
    ],
)
def test_private_address_towards_a_public_one_is_behind_nat(announced: str, bootstrap: str, is_behind: bool) -> None:
    assert is_behind_nat(announced, bootstrap) == is_behind


def test_peer_behind_nat_is_told_so_once_and_not_where_it_only_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "route_to", lambda host, port: "192.168.1.5")
    settings = Settings(bootstrap=("10.0.0.1:7700", "203.0.113.2:7700"))
    assert nat_warning(settings).startswith("others cannot dial 192.168.1.5, a private address: 203.0.113.2")
    assert "--dial-only" in nat_warning(settings)
    assert nat_warning(settings.adopt({"dial_only": True})) == ""
    assert nat_warning(Settings(bootstrap=("10.0.0.1:7700",))) == ""
