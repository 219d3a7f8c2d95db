"""Whom to ask: given addresses first, then what was sighted, then who was remembered; never oneself."""

from __future__ import annotations

from pathlib import Path

import pytest

from marfl_peer.config import Settings
from marfl_peer.peer.acquaintances import FILE, MAX_REMEMBERED, Acquaintances

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
