"""Whom to ask first: given addresses, then what the LAN beacon saw, then whom this peer knew last time.

A given name may be that of many peers, this one included, as where all containers of a service share one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from marfl_peer.clock import Deadline
from marfl_peer.config import Settings, parse_address
from marfl_peer.network.dht.binding import resolve_all
from marfl_peer.peer.store import write_file

FILE = "peers.json"
MAX_REMEMBERED = 256
MAX_OF_A_NAME = 16
"""Addresses of one name that are asked: the lowest, so that all peers begin with the same ones and find each other."""

Address = tuple[str, int]


class _Remembered(msgspec.Struct, frozen=True):
    run_id: str
    peers: list[tuple[str, int]]


class Acquaintances:
    """`own()` is this peer's own address, which is never asked."""

    def __init__(self, settings: Settings, *, own: Callable[[], Address]) -> None:
        self._settings, self._own = settings, own
        self._sighted: set[Address] = set()
        self._remembered = self._read()
        self._behind: dict[Address, list[Address]] = {}
        """What given names stood for when they were last looked up."""

    async def look_up(self, deadline: Deadline) -> None:
        """Learns the addresses behind given names, which may be others than before; keeps those of a name that is
        not known now."""
        version = 6 if ":" in self._own()[0] else 4
        for host, port in map(parse_address, self._settings.bootstrap):
            found = await resolve_all(host, port, ip_version=version, deadline=deadline)
            if found:
                lowest = sorted(found, key=ipaddress.ip_address)[:MAX_OF_A_NAME]
                self._behind[host, port] = [(address, port) for address in lowest]

    def sighted(self, address: Address) -> None:
        """The beacon heard a peer of the same run there."""
        self._sighted.add(address)

    def met(self, addresses: Iterable[Address]) -> None:
        """There were peers in an earlier life."""
        self._remembered = list(dict.fromkeys([*self._remembered, *addresses]))

    def addresses(self) -> list[Address]:
        """All known, in the order in which they are asked."""
        named = [parse_address(address) for address in self._settings.bootstrap]
        given = [address for name in named for address in self._behind.get(name, [name])]
        known = dict.fromkeys([*given, *sorted(self._sighted), *self._remembered])
        return [address for address in known if address != self._own()]

    def remember(self, addresses: Iterable[Address]) -> None:
        """Writes the members' addresses down for the next start. Raises: ConfigError."""
        known = list(addresses)[:MAX_REMEMBERED]
        if known:
            content = msgspec.json.encode(_Remembered(run_id=self._settings.run_id, peers=known))
            write_file(self._path, content)

    @property
    def _path(self) -> Path:
        return self._settings.state_dir / FILE

    def _read(self) -> list[Address]:
        """A damaged file is nobody remembered: it is written anew."""
        try:
            known = msgspec.json.decode(self._path.read_bytes(), type=_Remembered)
        except (OSError, msgspec.DecodeError):
            return []
        return known.peers if known.run_id == self._settings.run_id else []
