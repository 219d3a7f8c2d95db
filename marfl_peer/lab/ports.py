"""Finds ports for the peers of a local swarm.

Ports are looked for below the range from which the kernel takes the source ports of outgoing connections: a
port from within it may be gone again before its peer has bound it. Must not know what listens on them.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from marfl_peer.errors import ConfigError

LOWEST_PORT = 10_000
PORTS = 65_536
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
USUAL_EPHEMERAL_START = 32_768


def free_ports(count: int, *, host: str, rng: random.Random) -> list[int]:
    """Ports on which both TCP and UDP can be bound at this moment, in random order.

    Raises: ConfigError when there are not that many.
    """
    candidates = range(LOWEST_PORT, max(LOWEST_PORT + 1, ephemeral_start()))
    found: list[int] = []
    for port in rng.sample(candidates, len(candidates)):
        if len(found) == count:
            break
        if is_free(host, port):
            found.append(port)
    if len(found) < count:
        raise ConfigError("peers", count, f"only {len(found)} ports are free on {host}: start fewer")
    return found


def ports_from(first: int, count: int, *, host: str) -> list[int]:
    """`first` and those after it. Raises: ConfigError when one of them is in use, or there are not that many."""
    ports = list(range(first, first + count))
    if ports[-1] >= PORTS:
        raise ConfigError("port", first, f"there are no {count} ports from it on: choose {PORTS - count} at most")
    taken = next((port for port in ports if not is_free(host, port)), None)
    if taken is not None:
        raise ConfigError(
            "port", first, f"port {taken}, one of {count} from it on, is in use on {host}: choose another"
        )
    return ports


def is_free(host: str, port: int) -> bool:
    """Whether TCP and UDP can be bound there now."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:  # as servers do: a connection in TIME_WAIT is no obstacle
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def ephemeral_start() -> int:
    """The lowest source port of outgoing connections."""
    try:
        return int(EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        return USUAL_EPHEMERAL_START
