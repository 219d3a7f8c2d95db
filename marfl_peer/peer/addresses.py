"""Which address to listen on, and which to announce so that others reach this peer: none, where it only dials."""

from __future__ import annotations

import ipaddress
import socket

from marfl_peer.config import Settings, parse_address

ANY = "0.0.0.0"
LOOPBACK = "127.0.0.1"
NOWHERE = (ANY, 0)
"""What a peer announces that listens nowhere where others could reach it."""
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("fc00::/7", "::1/128", "fe80::/10"),
        ),
    )
)
_ELSEWHERE = ("192.0.2.1", 9)
"""An address of nobody (TEST-NET-1): asking for the route to it sends nothing."""


def listening_address(settings: Settings) -> str:
    """`auto` listens on the interface that leads to the bootstrap peers if that is loopback, else on all. Who only
    dials listens to this machine alone: to those who ask for its status."""
    if settings.dial_only:
        return LOOPBACK
    if settings.host != "auto":
        return settings.host
    announced = announced_address(settings)
    return LOOPBACK if ipaddress.ip_address(announced).is_loopback else ANY


def announced_address(settings: Settings) -> str:
    """The address under which others reach this peer: as told, or the one that the system uses towards them."""
    if settings.host not in ("auto", ANY, "::"):
        return settings.host
    for address in settings.bootstrap:
        route = route_to(*parse_address(address))
        if route is not None:
            return route
    return route_to(*_ELSEWHERE) or LOOPBACK


def is_behind_nat(announced: str, bootstrap: str) -> bool:
    """Whether only NAT can lead from the one numeric address to the other: from a private network to a public one. Then
    nobody out there can dial the first. False does not say that they can."""
    return _is_private(announced) and not _is_private(bootstrap)


def nat_warning(settings: Settings) -> str:
    """What a peer that is to listen is told where others cannot dial it; empty where nothing says so."""
    if settings.dial_only:
        return ""
    announced = announced_address(settings)
    hosts = [parse_address(address)[0] for address in settings.bootstrap]
    outside = next((host for host in hosts if is_behind_nat(announced, host)), None)
    if outside is None:
        return ""
    return (
        f"others cannot dial {announced}, a private address: {outside} is outside of it, behind NAT; give --dial-only"
    )


def _is_private(host: str) -> bool:
    """Of a network that no router leads to from outside: RFC 1918, RFC 6598, RFC 4193, loopback, link-local. A name is
    taken for one, since what it stands for is not known here."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    return any(address.version == net.version and address in net for net in _PRIVATE)


def route_to(host: str, port: int) -> str | None:
    """The own address that the system uses towards another; None where it knows no way. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))
        except OSError:
            return None
        return str(probe.getsockname()[0])
