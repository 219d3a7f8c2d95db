from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marfl_peer.lab.bench.namespace import FOLDER
from marfl_peer.lab.links import PREFIX


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
@pytest.mark.parametrize(
    ("links", "number", "code"), [((), signal.SIGINT, 130), (("--link-rate", "1gbit"), signal.SIGTERM, 143)]
)
def test_signal_ends_all_children_and_leaves_nothing(
    start: Callable[..., Any], request: pytest.FixtureRequest, links: tuple[str, ...], number: int, code: int
) -> None:
    if links:
        request.getfixturevalue("needs_namespaces")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:  # a socket's path has 108 bytes at most
        numbers = ("--members", "2", "--bytes", "8000", "--repeats", "100000", *links)
        program = start("bench", "exchange", *numbers, TMPDIR=folder)
        process = program.process

        def members() -> list[int]:
            return [member for nursery in children(process.pid) for member in children(nursery)]

        program.until(lambda: len(members()) == 4)  # two peers, two ranks of gloo
        pids = [*children(process.pid), *members()]
        process.send_signal(number)
        assert program.end() == code
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
        assert list(Path(folder).glob("marfl-bench-*")) == []
        assert list(FOLDER.glob(f"{PREFIX}-{process.pid}-*")) == []


def test_bench_of_a_codec_that_is_not_there_is_one_line(run: Callable[..., Any]) -> None:
    result = run("bench", "exchange", "--codec", "morse")
    assert result.returncode == 2
    assert result.stderr.startswith("marfl-peer: error: --codec: 'morse': write float32, ")
