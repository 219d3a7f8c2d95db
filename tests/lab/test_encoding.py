from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from marfl_peer.cli import loop
from marfl_peer.config import Settings
from marfl_peer.lab import encoding
from marfl_peer.lab.encoding import encode_ahead

SPY = "import json, sys; print('heard'); open({!r}, 'w').write(json.dumps(sys.argv[1:])); sys.exit({})"


@pytest.fixture
def put_in_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], Path]:
    """A program in place of Python: it writes what it was called with, and ends with this exit code."""

    def put(code: int) -> Path:
        program, heard = tmp_path / "python", tmp_path / "heard.json"
        program.write_text(f"#!{sys.executable}\n{SPY.format(str(heard), code)}\n")
        program.chmod(0o700)
        monkeypatch.setattr(encoding.sys, "executable", str(program))
        return heard

    return put


def test_hashed_words_need_nothing_ahead(put_in_place: Callable[[int], Path]) -> None:
    heard = put_in_place(9)
    assert asyncio.run(encode_ahead(Settings(task="20news"), os.environ)) == 0
    assert not heard.exists()


def test_data_of_another_encoder_are_checked_in_a_process_of_its_own(
    put_in_place: Callable[[int], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    heard = put_in_place(0)
    settings = Settings(task="20news", encoder="transformer:x y", data_dir=tmp_path)
    assert asyncio.run(encode_ahead(settings, os.environ)) == 0
    given = dict(zip(*[iter(json.loads(heard.read_text())[4:])] * 2, strict=True))
    assert json.loads(heard.read_text())[:4] == ["-m", "marfl_peer", "data", "check"]
    assert given == {
        "--config": os.devnull,
        "--task": "20news",
        "--encoder": "transformer:x y",
        "--data-dir": str(tmp_path),
    }
    assert capfd.readouterr().out == ""


def test_its_exit_code_is_handed_on(put_in_place: Callable[[int], Path]) -> None:
    put_in_place(2)
    assert asyncio.run(encode_ahead(Settings(task="20news", encoder="minilm"), os.environ)) == 2
    assert loop.run(encode_ahead(Settings(task="20news", encoder="minilm"), os.environ)) == 2  # that of `join`


def test_work_that_is_cancelled_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, began = tmp_path / "python", tmp_path / "pid"
    os.mkfifo(began)
    program.write_text(f"#!/bin/sh\necho $$ > {began}\nexec sleep 1000\n")
    program.chmod(0o700)
    monkeypatch.setattr(encoding.sys, "executable", str(program))

    async def cancel() -> int:
        work = asyncio.create_task(encode_ahead(Settings(task="20news", encoder="minilm"), os.environ))
        pid = int(await asyncio.to_thread(began.read_text))
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        return pid

    pid = asyncio.run(cancel())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
