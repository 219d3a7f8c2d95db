"""From a host and a port to a bound UDP socket, and from a name to an address, each with a deadline."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable

from marfl_peer.clock import Deadline
from marfl_peer.errors import ConfigError
from marfl_peer.network.dht.protocol import RecordProtocol


async def bind(
    make_protocol: Callable[[], RecordProtocol], host: str, port: int, *, deadline: Deadline
) -> RecordProtocol:
    """Raises: ConfigError naming `port` if it is in use, `host` if it is no address of this machine."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(deadline):
            _, protocol = await loop.create_datagram_endpoint(make_protocol, local_addr=(host, port))
    except (socket.gaierror, TimeoutError) as error:
        raise ConfigError("host", host, "is not known here: give an address of this machine") from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError("host", host, "is not an address of this machine") from error
        if error.errno == errno.EADDRINUSE:
            raise ConfigError("port", port, f"UDP port is in use on {host}: choose another") from error
        raise ConfigError("port", port, f"UDP port cannot be bound on {host} ({error.strerror})") from error
    return protocol


async def resolve(host: str, port: int, *, ip_version: int, deadline: Deadline) -> str | None:
    """The numeric address behind a host name, as it is if it is one already; None if there is none in time."""
    found = await resolve_all(host, port, ip_version=ip_version, deadline=deadline)
    return found[0] if found else None


async def resolve_all(host: str, port: int, *, ip_version: int, deadline: Deadline) -> list[str]:
    """All numeric addresses behind a host name, in the system's order; none where it knows none in time."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        family = socket.AF_INET6 if ip_version == 6 else socket.AF_INET
    try:
        async with asyncio.timeout_at(deadline):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError, UnicodeError):  # UnicodeError: a name that cannot be one
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
