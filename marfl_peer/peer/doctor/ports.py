"""Ports: whether this process may listen where the peer is to listen. Nothing is sent."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import Literal

from marfl_peer.peer.doctor.findings import Finding, fail, ok

Transport = Literal["tcp", "udp"]
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSeen:
    """`flag` is the setting's; `errno` what the system said to binding it, 0 for nothing."""

    flag: str
    transport: Transport
    host: str
    port: int
    errno: int = 0


def look_at_port(flag: str, transport: Transport, host: str, port: int) -> PortSeen:
    """Binds as a peer would, and lets go at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    number = 0
    try:
        with socket.socket(family, _KINDS[transport]) as probe:
            if transport == "tcp":  # as asyncio does: a connection that was closed a minute ago is no hindrance
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            if transport == "tcp":
                probe.listen(1)
    except socket.gaierror:
        number = errno.EADDRNOTAVAIL
    except OSError as error:
        number = error.errno or errno.EINVAL
    return PortSeen(flag=flag, transport=transport, host=host, port=port, errno=number)


def judge_port(seen: PortSeen) -> Finding:
    where = f"{seen.transport.upper()} {seen.host}:{seen.port}"
    code = "metrics_port" if seen.flag == "--metrics-port" else f"{seen.transport}_port"
    match seen.errno:
        case 0:
            return ok(code, f"{where} is free" if seen.port else f"{where}: any free port will be taken")
        case errno.EADDRINUSE:
            remedy = f"stop what uses it (`ss -lnp 'sport = :{seen.port}'` names it), or choose another {seen.flag}"
            return fail(f"{code}_in_use", f"{where} is in use", remedy)
        case errno.EACCES | errno.EPERM:
            remedy = f"ports below 1024 are root's: choose a {seen.flag} of 1024 or more"
            return fail(f"{code}_forbidden", f"{where} may not be used by this user", remedy)
        case errno.EADDRNOTAVAIL:
            remedy = "give --host an address of this machine, or leave it out (auto)"
            return fail("host_not_here", f"{seen.host} is not an address of this machine", remedy)
    return fail(f"{code}_unusable", f"{where}: {os.strerror(seen.errno)}", f"choose another --host or {seen.flag}")
