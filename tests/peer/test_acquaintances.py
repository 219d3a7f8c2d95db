"""Whom to ask: given addresses first, then what was sighted, then who was remembered; never oneself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from marfl_peer.clock import Deadline
from marfl_peer.config import Settings
from marfl_peer.peer.acquaintances import FILE, MAX_OF_A_NAME, MAX_REMEMBERED, Acquaintances

OWN = ("127.0.0.1", 7700)


def known(folder: Path, run_id: str = "run", bootstrap: tuple[str, ...] = ()) -> Acquaintances:
    settings = Settings(run_id=run_id, state_dir=folder, bootstrap=bootstrap)
    return Acquaintances(settings, own=lambda: OWN)


def test_addresses_come_given_then_sighted_then_remembered_and_once(tmp_path: Path) -> None:
    known(tmp_path).remember([("10.0.0.9", 9), ("10.0.0.1", 1)])
    people = known(tmp_path, bootstrap=("10.0.0.1:1",))
    people.sighted(("10.0.0.5", 5))
    people.sighted(("10.0.0.4", 4))
    assert people.addresses() == [("10.0.0.1", 1), ("10.0.0.4", 4), ("10.0.0.5", 5), ("10.0.0.9", 9)]


def test_own_address_is_never_asked(tmp_path: Path) -> None:
    people = known(tmp_path, bootstrap=("127.0.0.1:7700",))
    people.sighted(OWN)
    assert people.addresses() == []


def test_those_of_another_run_are_not_remembered(tmp_path: Path) -> None:
    known(tmp_path, run_id="another").remember([("10.0.0.9", 9)])
    assert known(tmp_path).addresses() == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"run_id": 1}', b'{"run_id": "run", "peers": [["h", "p"]]}'])
def test_damaged_file_is_nobody_remembered_and_written_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    people = known(tmp_path)
    assert people.addresses() == []
    people.remember([("10.0.0.9", 9)])
    assert known(tmp_path).addresses() == [("10.0.0.9", 9)]


def test_nobody_does_not_replace_who_was_remembered(tmp_path: Path) -> None:
    known(tmp_path).remember([("10.0.0.9", 9)])
    known(tmp_path).remember([])
    assert known(tmp_path).addresses() == [("10.0.0.9", 9)]


def test_remembered_addresses_are_bounded(tmp_path: Path) -> None:
    known(tmp_path).remember(("10.0.0.9", number) for number in range(1, 1000))
    assert len(known(tmp_path).addresses()) == MAX_REMEMBERED


def look_up(people: Acquaintances, names: Mapping[str, Sequence[str]]) -> None:
    """Lets them look the given names up where those, and no others, are known."""

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, port)) for address in names[host]]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign, assignment]
        await people.look_up(Deadline(loop.time() + 60.0))

    asyncio.run(main())


def test_name_of_many_peers_is_all_of_them_but_this_one(tmp_path: Path) -> None:
    people = known(tmp_path, bootstrap=("peer:7700", "10.0.0.1:1"))
    look_up(people, {"peer": ["10.0.0.20", "127.0.0.1", "10.0.0.3"]})
    assert people.addresses() == [("10.0.0.3", 7700), ("10.0.0.20", 7700), ("10.0.0.1", 1)]


def test_name_that_is_only_this_peer_leads_to_nobody(tmp_path: Path) -> None:
    people = known(tmp_path, bootstrap=("peer:7700",))
    look_up(people, {"peer": ["127.0.0.1"]})
    assert people.addresses() == []


def test_of_a_large_name_all_peers_ask_the_same_few(tmp_path: Path) -> None:
    people, others = (known(tmp_path, bootstrap=("peer:7700",)) for _ in range(2))
    behind = [f"10.0.0.{number}" for number in range(1, 126)]
    look_up(people, {"peer": behind})
    look_up(others, {"peer": behind[::-1]})
    assert people.addresses() == [(address, 7700) for address in behind[:MAX_OF_A_NAME]] == others.addresses()


def test_name_is_asked_as_it_is_until_it_is_known_and_stays_what_it_was(tmp_path: Path) -> None:
    people = known(tmp_path, bootstrap=("peer:7700",))
    look_up(people, {})
    assert people.addresses() == [("peer", 7700)]
    look_up(people, {"peer": ["10.0.0.3"]})
    look_up(people, {})
    assert people.addresses() == [("10.0.0.3", 7700)]
    look_up(people, {"peer": ["10.0.0.4"]})
    assert people.addresses() == [("10.0.0.4", 7700)]
