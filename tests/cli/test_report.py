"""The command: a table on the terminal, a page, pictures, and one line for what cannot be."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from marfl_peer.cli.report import tables_of
from marfl_peer.observe.report.overview import Column, Overview

Invoke = Callable[..., Result]
SUMMARY = {
    "run_id": "demo",
    "task": "digits",
    "peers": 4,
    "group_size": 2,
    "grid": [2, 2],
    "exchange": "butterfly",
    "codec": "float32",
    "iterations": [
        {"iteration": 1, "test_accuracy_mean": 0.5, "bytes_sent": {"tensor": 4000}, "peers_alive": 4},
        {"iteration": 2, "test_accuracy_mean": 0.75, "bytes_sent": {"tensor": 4000}, "peers_alive": 3},
    ],
    "bytes_sent_per_peer_per_iteration": {"tensor": 1000.0},
    "peers_started": 4,
    "peers_finished": 3,
    "peers_lost": 1,
    "wall_seconds": 2.5,
}
"""As versions wrote it that knew no settings."""


@pytest.fixture
def summaries(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(SUMMARY))
    (tmp_path / "two.json").write_text(json.dumps(SUMMARY | {"codec": "int8"}))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no matplotlib."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_one_run_is_a_table_and_a_page(invoke: Invoke, summaries: None, undrawn: None, tmp_path: Path) -> None:
    result = invoke("report", "one.json")
    assert result.exit_code == 0, result.stderr
    for line in ("demo", "task", "75.00 %", "3 / 1", "8.0 kB"):
        assert line in result.stdout
    assert "marfl-report/report.html" in result.stdout
    assert "demo" in (tmp_path / "marfl-report" / "report.html").read_text()


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_two_runs_stand_side_by_side_and_charts_are_png(invoke: Invoke, summaries: None, tmp_path: Path) -> None:
    result = invoke("report", "one.json", "two.json", "--out", "here", "--title", "A title")
    assert result.exit_code == 0, result.stderr
    assert "in all runs: peers 4, group size 2, grid 2×2, task digits" in " ".join(result.stdout.split())
    assert "here/report.html and 3 charts as PNG" in result.stdout
    pngs = sorted((tmp_path / "here").glob("*.png"))
    assert [path.name for path in pngs] == ["accuracy-bytes.png", "accuracy-iterations.png", "churn.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pngs)
    page = (tmp_path / "here" / "report.html").read_text()
    assert "<title>A title</title>" in page and page.count("data:image/svg+xml;base64,") == 6


def test_without_matplotlib_the_command_says_how_to_get_it(
    invoke: Invoke, summaries: None, undrawn: None, tmp_path: Path
) -> None:
    result = invoke("report", "one.json")
    assert result.exit_code == 0
    assert "pip install 'marfl-peer[report]'" in result.stderr
    assert [path.name for path in (tmp_path / "marfl-report").iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing"], "marfl-peer: error: missing: does not exist: name a summary or the folder of a run"),
        (["other.json"], "marfl-peer: error: other.json: is not the summary of a run: Expected `object`, got `array`"),
        (["text.json"], "marfl-peer: error: text.json: is not JSON: "),
        (["one.json", "missing"], "marfl-peer: error: missing: does not exist"),
    ],
)
def test_what_is_no_run_is_one_line_and_exit_code_2(
    invoke: Invoke, summaries: None, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "other.json").write_text("[]")
    (tmp_path / "text.json").write_text("accuracy 97 %")
    result = invoke("report", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(says)
    assert len(result.stderr.splitlines()) == 1 and not result.stdout


def test_no_run_at_all_is_a_mistake(invoke: Invoke) -> None:
    result = invoke("report")
    assert result.exit_code == 2
    assert "RUN..." in result.stderr


def test_runs_that_do_not_fit_beside_each_other_get_tables_of_their_own() -> None:
    labels = tuple(f"run {number}" for number in range(5))
    overview = Overview(labels=labels, common=(("task", "digits"),), columns=(Column(title="t", cells=labels),))
    tables = tables_of(overview, width=80)
    assert [len(table.columns) for table in tables] == [4, 3]
    assert [table.caption is None for table in tables] == [True, False]
    assert len(tables_of(overview, width=20)) == 5, "one at least"


def test_what_a_summary_says_does_not_steer_the_terminal(invoke: Invoke, undrawn: None, tmp_path: Path) -> None:
    (tmp_path / "evil.json").write_text(json.dumps(SUMMARY | {"run_id": "\x1b[2J[bold]", "task": "a\nb"}))
    result = invoke("report", "evil.json")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "[bold]" in result.stdout
