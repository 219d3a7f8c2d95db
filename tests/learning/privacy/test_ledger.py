"""The ledger on disk: charged before, settled after, never forgotten, and an error where it cannot be believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mortal_disk import deaths

from marfl_peer.errors import ConfigError
from marfl_peer.learning.privacy.ledger import LEDGER_FILE, MAX_LEDGER_BYTES, Entry, Ledger, Page, _moved


def _ledger(folder: Path, *, run_id: str = "run", task: str = "digits", delta: float = 1e-5) -> Ledger:
    return Ledger.open(folder, run_id=run_id, task=task, delta=delta)


def test_what_is_charged_survives_a_life(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path)
    assert ledger.releases == 0
    ledger.charge(1.0)
    ledger.charge(1.0)
    ledger.settle(1.0, contributors=16)
    ledger.charge(0.5)
    again = _ledger(tmp_path)
    assert again.releases == 3
    assert again.entries == (
        Entry(noise=0.5, contributors=1, releases=1),
        Entry(noise=1.0, contributors=1, releases=1),
        Entry(noise=1.0, contributors=16, releases=1),
    )


def test_release_whose_end_is_not_known_counts_as_if_its_owner_were_alone(tmp_path: Path) -> None:
    _ledger(tmp_path).charge(1.0)  # and killed
    ledger = _ledger(tmp_path)
    ledger.charge(1.0)
    ledger.settle(1.0, contributors=4)
    ledger.charge(1.0)
    ledger.settle(1.0, contributors=1)
    assert [(entry.contributors, entry.releases) for entry in ledger.entries] == [(1, 2), (4, 1)]


@given(st.lists(st.tuples(st.sampled_from([0.5, 1.0]), st.integers(1, 5)), max_size=30))
def test_no_release_is_lost_or_counted_twice(releases: list[tuple[float, int]]) -> None:
    entries: tuple[Entry, ...] = ()
    for noise, contributors in releases:
        entries = _moved(entries, noise, to=1)
        if contributors > 1:
            entries = _moved(entries, noise, origin=1, to=contributors)
    counted = {(entry.noise, entry.contributors): entry.releases for entry in entries}
    assert counted == {release: releases.count(release) for release in releases}


@pytest.mark.parametrize("half", [False, True])
def test_ledger_after_a_kill_or_a_power_cut_knows_what_may_have_left(tmp_path: Path, half: bool) -> None:
    known_to_be_there = _text_with(tmp_path, releases=1)
    for disk in deaths(tmp_path, half=half):
        disk.begin({LEDGER_FILE: known_to_be_there})
        ledger = _ledger(disk.folder)
        with disk:
            ledger.charge(1.0)
        for folder in disk.aftermaths():
            found = _ledger(folder).releases
            assert found == 2 if not disk.died else found in (1, 2), (disk.calls, folder.name)


def _text_with(folder: Path, *, releases: int) -> bytes:
    ledger = _ledger(folder / "before")
    for _ in range(releases):
        ledger.charge(1.0)
    return (folder / "before" / LEDGER_FILE).read_bytes()


@pytest.mark.parametrize(
    ("other", "named"), [({"run_id": "second"}, "run-id"), ({"task": "mnist"}, "task"), ({"delta": 1e-6}, "dp-delta")]
)
def test_ledger_of_another_run_is_not_used_silently(tmp_path: Path, other: dict[str, object], named: str) -> None:
    _ledger(tmp_path).charge(1.0)
    with pytest.raises(ConfigError, match=named):
        _ledger(tmp_path, **other)  # type: ignore[arg-type]
    assert _ledger(tmp_path).releases == 1


def test_damaged_ledger_is_an_error_whatever_the_damage(tmp_path: Path) -> None:
    whole = _text_with(tmp_path, releases=3)
    path = tmp_path / LEDGER_FILE
    damages = [
        b"",
        b"{}",
        whole[:-1],
        whole[: len(whole) // 2],
        whole.replace(b'"releases": 3', b'"releases": 0'),
        b"\xff",
    ]
    damages += [whole.replace(b'"format": 1', b'"format": 2'), whole + b" ", bytes(len(whole))]
    for damage in damages:
        assert damage != whole
        path.write_bytes(damage)
        with pytest.raises(ConfigError, match="damaged"):
            _ledger(tmp_path)
        assert path.read_bytes() == damage, "nothing is repaired"
    path.write_bytes(whole)
    assert _ledger(tmp_path).releases == 3


def test_ledger_that_is_too_large_or_a_folder_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / LEDGER_FILE
    path.write_bytes(bytes(MAX_LEDGER_BYTES + 1))
    with pytest.raises(ConfigError, match="damaged"):
        _ledger(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="damaged"):
        _ledger(tmp_path)


def test_ledger_that_cannot_be_written_lets_nothing_leave(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ledger = Ledger(tmp_path / "file" / LEDGER_FILE, Page(run_id="run", task="digits", delta=1e-5))
    with pytest.raises(ConfigError, match="nothing may be released"):
        ledger.charge(1.0)
    assert ledger.releases == 0
