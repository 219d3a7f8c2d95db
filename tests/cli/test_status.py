from __future__ import annotations

import io
import json
from collections.abc import Callable
from types import ModuleType

import pytest
from click.testing import Result
from rich.console import Console

from marfl_peer.cli.status import tables_of
from marfl_peer.errors import DhtError

Invoke = Callable[..., Result]
StandIn = Callable[..., ModuleType]

ANSWER: dict[str, object] = {
    "peer_id": "ab" * 20,
    "iteration": 7,
    "test_accuracy": 0.93125,
    "shard": None,
    "grid": [4, 4],
    "lost": [],
    "bytes_sent": {"tensor": 1024, "control": 5},
    "peers": [{"peer_id": "p1", "cell": 0}, {"peer_id": "p2", "host": "10.0.0.2"}],
}


@pytest.fixture
def asked(stand_in: StandIn) -> list[tuple[str, int, float]]:
    calls: list[tuple[str, int, float]] = []

    async def ask_status(host: str, port: int, timeout_s: float) -> dict[str, object]:
        calls.append((host, port, timeout_s))
        return ANSWER

    stand_in("marfl_peer.peer.inquiry", ask_status=ask_status)
    return calls


def printed(answer: dict[str, object]) -> str:
    console = Console(file=io.StringIO(), width=120, record=True)
    for table in tables_of(answer, title="[red]10.0.0.1:7700"):
        console.print(table)
    return console.export_text()


def test_answer_is_printed_as_tables(invoke: Invoke, asked: list[tuple[str, int, float]]) -> None:
    result = invoke("status", "10.0.0.1:7700", COLUMNS="120")
    assert (result.exit_code, asked) == (0, [("10.0.0.1", 7700, 5.0)])
    assert "ab" * 20 in result.output


def test_answer_is_printed_as_json(invoke: Invoke, asked: list[tuple[str, int, float]]) -> None:
    result = invoke("status", "[::1]:7700", "--json", "--timeout", "0.5")
    assert (result.exit_code, asked) == (0, [("::1", 7700, 0.5)])
    assert json.loads(result.output) == ANSWER


def test_tables_show_every_value() -> None:
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed(ANSWER).splitlines()]
    assert ["peer_id", "ab" * 20] in rows
    assert ["iteration", "7"] in rows
    assert ["test_accuracy", "0.9313"] in rows
    assert ["shard", "-"] in rows
    assert ["grid", "4, 4"] in rows
    assert ["lost", "-"] in rows
    assert ["bytes_sent.tensor", "1024"] in rows
    assert ["p1", "0", "-"] in rows
    assert ["p2", "-", "10.0.0.2"] in rows


def test_what_a_peer_sends_is_no_markup_and_moves_no_cursor() -> None:
    text = printed({"run_id": "[bold]x[/bold]\x1b[2J\x07", "[i]o[/]": [{"[red]column[/]": "[b]"}]})
    assert "[bold]x[/bold]" in text
    assert "[i]o[/]" in text
    assert "[red]column[/]" in text
    assert "[red]10.0.0.1:7700" in text
    assert "\x1b" not in text
    assert "\x07" not in text


@pytest.mark.parametrize("address", ["nowhere", "host:0", ":7700"])
def test_address_that_is_none_is_refused(invoke: Invoke, asked: list[tuple[str, int, float]], address: str) -> None:
    result = invoke("status", address)
    assert (result.exit_code, asked) == (2, [])
    assert "write HOST:PORT" in result.stderr


def test_peer_that_does_not_answer_is_one_line(invoke: Invoke, stand_in: StandIn) -> None:
    async def ask_status(host: str, port: int, timeout_s: float) -> dict[str, object]:
        raise DhtError(f"{host}:{port} does not answer")

    stand_in("marfl_peer.peer.inquiry", ask_status=ask_status)
    result = invoke("status", "10.0.0.1:7700")
    assert (result.exit_code, result.stderr) == (69, "marfl-peer: error: 10.0.0.1:7700 does not answer\n")
