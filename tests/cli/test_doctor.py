from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console

from marfl_peer.cli.doctor import show
from marfl_peer.peer.doctor.findings import fail, ok, warn

Invoke = Callable[..., Result]
HERE = ("doctor", "--host", "127.0.0.1", "--port", "0")


def test_every_finding_is_a_line_and_the_exit_code_the_worst(invoke: Invoke) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = invoke(*HERE, "--metrics-port", port)
    assert result.exit_code == 1, result.output
    lines = result.output.splitlines()
    assert all(line[:5] in ("ok   ", "warn ", "fail ") for line in lines)
    assert any(f"metrics_port_in_use: TCP 127.0.0.1:{port} is in use -> stop what uses it" in line for line in lines)
    assert list(Path().iterdir()) == []


def test_warnings_alone_have_an_exit_code_of_their_own(invoke: Invoke) -> None:
    result = invoke(*HERE, "--threads", "1024", "--json")
    assert result.exit_code == 3, result.output
    told = json.loads(result.output)
    assert told["verdict"] == "warn"
    found = {one["code"]: one for one in told["findings"]}
    assert set(found["threads_many"]) == {"code", "severity", "seen", "remedy"}
    assert found["versions"]["remedy"] is None


def test_planned_peers_are_those_that_are_named(invoke: Invoke) -> None:
    told = json.loads(invoke(*HERE, "--json").output)
    assert any("for 1 peer(s)" in one["seen"] for one in told["findings"])
    told = json.loads(invoke(*HERE, "--json", MARFL_PEERS="1000000").output)
    assert any("for 1000000 peer(s)" in one["seen"] for one in told["findings"])


def test_settings_that_cannot_be_are_refused(invoke: Invoke) -> None:
    assert invoke("doctor", "--port", "many").exit_code == 2
    assert invoke("doctor", "--bootstrap", "nowhere").exit_code == 2


def test_table_on_a_terminal_shows_remedies_and_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=60)
    show([ok("a", "fine"), warn("b", "odd [red]\x1b[2J", "mend it"), fail("c", "bad", "stop it")], console)
    text = console.file.getvalue()
    assert "odd [red]\\x1b[2J" in text
    assert "mend it" in text
    assert "\x1b" not in text
