"""Where to listen, and what to tell others."""

from __future__ import annotations

import ipaddress

import pytest

from marfl_peer.config import Settings
from marfl_peer.peer.addresses import ANY, LOOPBACK, announced_address, listening_address


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
