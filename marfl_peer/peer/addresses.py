"""Which address to listen on, and which to announce so that others reach this peer: none, where it only dials."""

from __future__ import annotations

import ipaddress
import socket

from marfl_peer.config import Settings, parse_address

ANY = "0.0.0.0"
LOOPBACK = "127.0.0.1"
NOWHERE = (ANY, 0)
"""What a peer announces that listens nowhere where others could reach it."""
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


def route_to(host: str, port: int) -> str | None:
    """The own address that the system uses towards another; None where it knows no way. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, port))
        except OSError:
            return None
        return str(probe.getsockname()[0])
