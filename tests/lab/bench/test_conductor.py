"""Children in these tests are not peers: they say what the test has them say."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import LocalProtocolError, MarflError
from marfl_peer.lab.bench import conductor as conductor_module
from marfl_peer.lab.bench.conductor import conducting
from marfl_peer.lab.bench.words import Done, PeerRole

STEADY = """
from marfl_peer.lab.bench.judging import Judgement
from marfl_peer.lab.bench.serving import Line, serve
class Rank:
    contacts = (str(start.index),)
    def arm(self): pass
    def average(self, what): pass
    def judge(self, what): return Judgement(0.0)
with Line(job.facts_path, start.index) as line:
    line.hear()
    serve(line, Rank())
"""
CRASHES = STEADY.replace(
    "def average(self, what): pass", "def average(self, what): print('no more memory'); os._exit(1)"
)
SILENT = "import time\ntime.sleep(600)"
ROLE = PeerRole(rank=0, ranks=2, floats=2, base="b")


@pytest.fixture(autouse=True)
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(conductor_module, "ENTRY", "hatched_for_bench:prepare")
    with tempfile.TemporaryDirectory(prefix="bench-") as short_path:  # a socket's path has 108 bytes at most
        monkeypatch.setattr(tempfile, "tempdir", short_path)
        yield


async def two(tmp_path: Path, body: str) -> tuple[Path, list[Done], tuple[str, ...]]:
    lines = "\n".join(f"        {line}" for line in body.strip().splitlines())
    source = f"import os\ndef prepare(job):\n    def run(start):\n{lines}\n        return 0\n    return run\n"
    (tmp_path / "hatched_for_bench.py").write_text(source)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    async with conducting(Settings(), environment=environment) as conductor:
        members = conductor.start("peer", [Settings()] * 2)
        entered = await conductor.enter(members, [ROLE, ROLE])
        done = await conductor.measure(members, checked=True)
        memory = await conductor.memory(members)
        assert memory is None or (memory.processes == 2 and memory.total_bytes >= memory.max_bytes > 0)
        return conductor.folder, done, tuple(one.contacts[0] for one in entered)


def test_members_begin_when_all_are_ready_and_leave_nothing(tmp_path: Path) -> None:
    folder, done, contacts = asyncio.run(two(tmp_path, STEADY))
    assert contacts == ("0", "1")
    assert [one.error for one in done] == [0.0, 0.0]
    assert not folder.exists()


def test_child_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as group:
        asyncio.run(two(tmp_path, CRASHES.replace("os._exit", "import sys; sys.stdout.flush(); os._exit")))
    message = str(group.value.exceptions[0])
    assert "ended too early: no more memory (see " in message
    assert Path(message.rpartition("see ")[2].rstrip(")")).is_file()


def test_child_that_says_nothing_is_waited_for_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conductor_module, "PATIENCE_S", 0.5)
    with pytest.raises(ExceptionGroup) as group:
        asyncio.run(two(tmp_path, SILENT))
    assert str(group.value.exceptions[0]) == "peer 0 and 1 more did not answer within 0.5 s"


def test_job_that_is_refused_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conductor_module, "ENTRY", "there_is_no_such_module:prepare")
    with pytest.raises(ExceptionGroup) as group:
        asyncio.run(two(tmp_path, STEADY))
    assert isinstance(group.value.exceptions[0], MarflError)
    assert "could not be started" in str(group.value.exceptions[0])


def test_answer_out_of_turn_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as group:
        asyncio.run(
            two(
                tmp_path,
                STEADY.replace("    line.hear()\n", "    line.say(Ready())\n").replace("Line,", "Line, Ready,"),
            )
        )
    errors = group.value.exceptions[0]
    assert isinstance(errors, ExceptionGroup)
    assert all(isinstance(error, LocalProtocolError) for error in errors.exceptions)
