"""Whom to ask first: given addresses, then what the LAN beacon saw, then whom this peer knew last time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from marfl_peer.config import Settings, parse_address
from marfl_peer.peer.store import write_file

FILE = "peers.json"
MAX_REMEMBERED = 256

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

    def sighted(self, address: Address) -> None:
        """The beacon heard a peer of the same run there."""
        self._sighted.add(address)

    def met(self, addresses: Iterable[Address]) -> None:
        """There were peers in an earlier life."""
        self._remembered = list(dict.fromkeys([*self._remembered, *addresses]))

    def addresses(self) -> list[Address]:
        """All known, in the order in which they are asked."""
        given = [parse_address(address) for address in self._settings.bootstrap]
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
