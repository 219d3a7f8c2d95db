from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import sys
import termios
from collections.abc import Callable, Sequence
from types import ModuleType

import pytest
from click.testing import Result
from rich.console import Console

from marfl_peer.cli.top import watch
from marfl_peer.observe.status import Status
from marfl_peer.observe.top.rows import Row
from marfl_peer.observe.top.screen import Choice

Invoke = Callable[..., Result]
StandIn = Callable[..., ModuleType]
ROWS = [
    Row(address="10.0.0.1:7700", status=Status(peer_id="ab" * 20, iteration=3, phase="training")),
    Row(address="10.0.0.2:7700", status=Status(peer_id="cd" * 20, iteration=11, phase="training")),
    Row(address="10.0.0.3:7700", trouble="Connection refused", peer_id="ef" * 20),
]


@pytest.fixture
def canvassed(stand_in: StandIn) -> list[object]:
    """What was asked for; the rows that answer can be changed through the last element."""
    asked: list[object] = []

    class Canvass:
        rows: Sequence[Row] = ROWS

        def __init__(self, given: list[tuple[str, int]], *, timeout_s: float) -> None:
            asked.append((given, timeout_s))

        async def round(self) -> Sequence[Row]:
            return type(self).rows

    stand_in("marfl_peer.peer.canvass", Canvass=Canvass)
    asked.append(Canvass)
    return asked


def test_without_a_terminal_one_table_is_printed(invoke: Invoke, canvassed: list[object]) -> None:
    result = invoke("top", "--peer", "10.0.0.1:7700", "--peer", "[::1]:7701", "--timeout", "1", "--sort", "iter")
    assert result.exit_code == 0, result.output
    assert canvassed[1] == ([("10.0.0.1", 7700), ("::1", 7701)], 1.0)
    lines = [line for line in result.output.splitlines() if "10.0.0." in line]
    assert [line.split()[0] for line in lines[1:]] == ["cdcdcdcd", "abababab", "efefefef"]
    assert "\x1b" not in result.output


def test_json_is_one_list(invoke: Invoke, canvassed: list[object]) -> None:
    told = json.loads(invoke("top", "--peer", "10.0.0.1:7700", "--json", "--sort", "address", "--reverse").output)
    assert [row["address"] for row in told] == ["10.0.0.3:7700", "10.0.0.2:7700", "10.0.0.1:7700"]
    assert told[0] == {
        "address": "10.0.0.3:7700",
        "peer_id": "ef" * 20,
        "trouble": "Connection refused",
        "status": None,
    }
    assert told[1]["status"]["iteration"] == 11


def test_nobody_answering_is_an_exit_code(invoke: Invoke, canvassed: list[object]) -> None:
    canvassed[0].rows = ROWS[2:]
    result = invoke("top", "--peer", "10.0.0.1:7700", "--once")
    assert result.exit_code == 69
    assert "Connection refused" in result.output


@pytest.mark.parametrize("arguments", [("top",), ("top", "--peer", "nowhere"), ("top", "--peer", "h:1", "--sort", "x")])
def test_what_cannot_be_is_refused(invoke: Invoke, canvassed: list[object], arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_live_view_follows_keys_and_leaves_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    person, program = pty.openpty()
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=24)
    looks = 0

    async def look() -> Sequence[Row]:
        nonlocal looks
        looks += 1
        os.write(person, b"sr" if looks == 1 else b"q")
        return ROWS

    with open(program) as terminal:  # noqa: PTH123 - a descriptor
        before = termios.tcgetattr(program)
        monkeypatch.setattr(sys, "stdin", terminal)
        asyncio.run(watch(look, console, asked="10.0.0.1:7700", interval_s=0.001, choice=Choice()))
        assert termios.tcgetattr(program) == before
    os.close(person)
    drawn = screen.getvalue()
    assert drawn.index("\x1b[?1049h") < drawn.index("cdcdcdcd") < drawn.index("\x1b[?1049l")
    assert "peer▲" in drawn
    assert "address▼" in drawn
