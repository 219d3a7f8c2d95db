from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.facts import Fact, IterationStarted, LoopLagged, decode_fact
from marfl_peer.observe.journal import Journal, read_journal


def lines_of(path: Path) -> list[bytes]:
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return text.splitlines()


def test_line_has_the_time_and_the_fact(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.jsonl"
    with Journal(path, wall=lambda: 1_700_000_000.25) as journal:
        journal(LoopLagged(seconds=0.5))
        # Read while it is open: every line is on its way at once.
        (line,) = lines_of(path)
    assert json.loads(line) == {"at": 1_700_000_000.25, "fact": "LoopLagged", "seconds": 0.5}
    assert decode_fact(line) == LoopLagged(seconds=0.5)


def test_journal_continues_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for iteration in (1, 2):
        with Journal(path) as journal:
            journal(IterationStarted(iteration=iteration))
    assert [decode_fact(line) for line in lines_of(path)] == [
        IterationStarted(iteration=1),
        IterationStarted(iteration=2),
    ]


def test_journal_that_ends_in_half_a_line_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"at":1.0,"fac')
    with Journal(path) as journal:
        journal(IterationStarted(iteration=7))
    torn, whole = lines_of(path)
    assert torn == b'{"at":1.0,"fac'
    assert decode_fact(whole) == IterationStarted(iteration=7)


def test_rotation_keeps_one_older_file_and_bounds_both(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, max_bytes=400) as journal:
        for iteration in range(100):
            journal(IterationStarted(iteration=iteration))
    kept = [path.with_name("journal.jsonl.1"), path]
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert all(0 < file.stat().st_size <= 400 for file in kept)
    facts = [decode_fact(line) for file in kept for line in lines_of(file)]
    assert facts == [IterationStarted(iteration=i) for i in range(100 - len(facts), 100)]


def test_fact_larger_than_the_bound_is_written_once_in_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, max_bytes=10) as journal:
        journal(IterationStarted(iteration=1))
        journal(IterationStarted(iteration=2))
    assert [decode_fact(line) for line in lines_of(path)] == [IterationStarted(iteration=2)]


def test_full_disk_ends_the_journal_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.fail("this test needs Linux's /dev/full")
    with caplog.at_level(logging.WARNING), Journal(full) as journal:
        assert journal.is_open
        for iteration in range(3):
            journal(IterationStarted(iteration=iteration))
        assert not journal.is_open
    assert [record.getMessage() for record in caplog.records] == [
        "/dev/full: No space left on device: no more facts are written to it"
    ]


def test_line_that_only_half_fits_ends_the_journal_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    write = os.write
    with Journal(path) as journal, monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, line: write(fd, line[:5]))
        journal(IterationStarted(iteration=1))
        assert not journal.is_open
    assert "No space left on device" in caplog.text
    with Journal(path) as journal:
        journal(IterationStarted(iteration=2))
    assert decode_fact(lines_of(path)[-1]) == IterationStarted(iteration=2)


def test_rotation_that_fails_ends_the_journal_and_does_not_raise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    path.with_name("journal.jsonl.1").mkdir()
    with Journal(path, max_bytes=10) as journal:
        journal(IterationStarted(iteration=1))
        journal(IterationStarted(iteration=2))
        assert not journal.is_open
    assert len(caplog.records) == 1


def test_closed_journal_drops_facts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.close()
    journal(IterationStarted(iteration=1))
    journal.close()
    assert (tmp_path / "journal.jsonl").read_bytes() == b""


def test_folder_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--state-dir"):
        Journal(tmp_path / "file" / "journal.jsonl")


def test_journal_is_read_back_with_its_times(tmp_path: Path, samples: tuple[Fact, ...]) -> None:
    path = tmp_path / "journal.jsonl"
    seconds = iter(range(len(samples)))
    with Journal(path, wall=lambda: 100.0 + next(seconds), max_bytes=2000) as journal:
        for fact in samples:
            journal(fact)
    found = list(read_journal(path))
    assert (tmp_path / "journal.jsonl.1").exists(), "it was rotated"
    assert [fact for _, fact in found] == list(samples)[-len(found) :]
    assert [at for at, _ in found] == [100.0 + place for place in range(len(samples))][-len(found) :]
    assert len(found) > 5


def test_lines_that_are_no_facts_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"at": 1.0, "fact": "LoopLagged", "seconds": 2.0}\n\xff\n[]\n{"at": 2.0, "fact": "Later"}\n{"a')
    assert [(at, type(fact).__name__) for at, fact in read_journal(path)] == [(1.0, "LoopLagged")]
    assert list(read_journal(tmp_path / "none")) == []
    with pytest.raises(ConfigError, match="cannot be read"):
        list(read_journal(tmp_path))
