"""The way to a peer on the same machine: a Unix socket, which costs the kernel a third less than TCP over loopback.

Its name is in Linux's abstract namespace, made of the peer's id and port: it is seen within one network namespace, and
goes with its process, so nothing is left on disk. A name proves nothing: the handshake is the same as over TCP. Since
any user of the machine may take one, only processes of the own user are dialled so. Where there is no such socket the
caller dials by TCP.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from marfl_peer.ids import PeerId

_CREDENTIALS = struct.Struct("3i")
"""Linux's `struct ucred`: process, user, group."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The process at the other end of a Unix socket, as the kernel knows it."""

    pid: int
    uid: int


def can_be() -> bool:
    """Whether this system has such sockets."""
    return sys.platform.startswith("linux")


def neighbour_of(raw: Any) -> Neighbour | None:
    """Who is at the other end of a connection's socket; None where that is no Unix socket, or none of Linux."""
    if not can_be() or getattr(raw, "family", None) != socket.AF_UNIX:
        return None
    pid, uid, _ = _CREDENTIALS.unpack(raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Neighbour(pid=pid, uid=uid)


def name_of(peer: PeerId, port: int) -> str:
    """Where `peer`, which listens to this TCP port, is found by its neighbours."""
    return f"\0marfl-peer/{peer}/{port}"


async def listen(
    accepted: Callable[[], asyncio.BaseProtocol], peer: PeerId, port: int, *, backlog: int
) -> asyncio.Server | None:
    """Lets neighbours in; None where they have to come by TCP: there are no such sockets, on this system or in a
    simulated world, or the name is taken."""
    if not can_be():
        return None
    try:
        return await asyncio.get_running_loop().create_unix_server(accepted, name_of(peer, port), backlog=backlog)
    except (NotImplementedError, OSError):
        return None


async def dial(connection: asyncio.BaseProtocol, peer: PeerId, port: int) -> bool:
    """Opens a connection to a neighbour; whether there is one of the same user, who has room for it at once."""
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        raw.setblocking(False)
        raw.connect(name_of(peer, port))  # at once, or not at all
        there = neighbour_of(raw)
        if there is None or there.uid != os.geteuid():
            raise PermissionError("another user's")
    except OSError:
        raw.close()
        return False
    # As a socket: uvloop cannot connect to a name in the abstract namespace.
    await asyncio.get_running_loop().create_unix_connection(lambda: connection, sock=raw)
    return True
