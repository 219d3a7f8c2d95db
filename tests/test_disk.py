"""A file that is replaced is the old one or the new one, at whatever call of the system the process ends."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest
from mortal_disk import MortalDisk, deaths

from marfl_peer import disk


@pytest.mark.parametrize("half", [False, True])
def test_write_that_is_ended_anywhere_leaves_old_or_new(tmp_path: Path, half: bool) -> None:
    old, new = b"old" * 1000, b"new" * 2000
    seen = set()
    for mortal in deaths(tmp_path, half=half):
        path = mortal.folder / "file"
        mortal.begin({"file": old})
        with mortal:
            disk.write_whole(path, new)
        for after in mortal.aftermaths():
            content = (after / "file").read_bytes()
            assert content in (old, new), f"after {mortal.calls[-1]}"
            seen.add(content)
            disk.write_whole(after / "file", b"next life")
            assert [entry.name for entry in after.iterdir()] == ["file"]
    assert seen == {old, new}
    assert mortal.calls == ["unlink", "open", "write", "fsync", "replace", "open", "fsync"]


def test_finished_write_survives_a_power_cut(tmp_path: Path) -> None:
    mortal = MortalDisk(tmp_path / "disk", dies_at=99)
    mortal.begin({"file": b"old"})
    with mortal:
        disk.write_whole(mortal.folder / "file", b"new")
    assert {(after / "file").read_bytes() for after in mortal.aftermaths()} == {b"new"}


def test_mode_is_that_of_the_new_file_whatever_the_draft_was(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    disk.draft_of(path).write_bytes(b"left over")
    assert disk.write_whole(path, b"key", mode=0o600) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_write_that_fails_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        disk.write_whole(tmp_path / "taken", b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    disk.remove(tmp_path / "nothing")
    (tmp_path / "something").touch()
    disk.remove(tmp_path / "something")
    assert list(tmp_path.iterdir()) == []


class Record(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    checksum: str = ""


def test_record_is_sealed_by_what_it_says() -> None:
    written = disk.sealed(Record(name="a"))
    read = msgspec.json.decode(written, type=Record)
    assert len(read.checksum) == 64
    assert disk.sealed(read) == written
    assert disk.sealed(Record(name="b", checksum=read.checksum)) != written
    for wrong in (written.replace(b'"a"', b'"b"'), written.replace(read.checksum.encode(), b"0" * 64)):
        assert disk.sealed(msgspec.json.decode(wrong, type=Record)) != wrong
