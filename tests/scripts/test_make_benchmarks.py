from __future__ import annotations

import importlib
import json
import os
import shlex
from pathlib import Path
from types import ModuleType

import click
import pytest

from marfl_peer.cli.main import cli

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("make_benchmarks")


def test_every_run_is_a_command_that_there_is(benchmarks: ModuleType) -> None:
    bench = cli.commands["bench"]
    assert isinstance(bench, click.Group)
    names = [run.name for run in benchmarks.runs()]
    assert len(names) == len(set(names))
    assert [run.name for run in benchmarks.runs(benchmarks.QUICK)] == names
    for run in (*benchmarks.runs(), *benchmarks.runs(benchmarks.QUICK)):
        command, *arguments = run.arguments
        bench.commands[command].make_context(command, [*arguments, "--json"])


def test_page_quotes_the_commands_that_are_run(benchmarks: ModuleType) -> None:
    page = (SCRIPTS.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    commands = {run.command for run in benchmarks.runs()}
    quoted = {line.strip() for line in page.splitlines() if line.startswith("    marfl-peer bench ")}
    assert quoted
    assert quoted <= {command.removesuffix(" --json") for command in commands}


def test_what_a_run_printed_is_kept_and_a_failure_leaves_what_was_there(
    benchmarks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    short = benchmarks.Run("codecs", ("codecs", "--codec", "int8", "--bytes", "8000", "--repeats", "1"))
    broken = benchmarks.Run("broken", ("codecs", "--codec", "zip"))
    monkeypatch.setattr(benchmarks, "runs", lambda _: [short, broken])
    (tmp_path / "broken.json").write_text("before")
    assert benchmarks.main(["--folder", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "codecs.json").read_text())["bytes"] == 8000
    assert (tmp_path / "broken.json").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.json", "codecs.json"]
    assert "failed: broken" in capfd.readouterr().out
    assert benchmarks.main(["--folder", str(tmp_path), "--only", "co*"]) == 0


def test_links_of_a_rate_are_left_out_without_root(
    benchmarks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert benchmarks.main(["--folder", str(tmp_path), "--only", "exchange-1gbit-*"]) == 0
    assert "exchange-1gbit-int8 is left out: it needs root" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_list_runs_nothing(benchmarks: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.main(["--list", "--only", "aggregation-int8-int4"]) == 0
    name, *command = shlex.split(capsys.readouterr().out)
    assert (name, command[:3], command[-1]) == (
        "aggregation-int8-int4",
        ["marfl-peer", "bench", "aggregation"],
        "--json",
    )


def test_pattern_that_fits_nothing_is_an_error(benchmarks: ModuleType) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmarks.main(["--only", "nothing"])


def test_quick_figures_do_not_replace_what_was_measured(
    benchmarks: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmarks.main(["--quick", "--only", "codecs"])
    assert "--quick: needs --folder" in capsys.readouterr().err
    assert benchmarks.main(["--quick", "--list", "--only", "codecs"]) == 0
    assert "--bytes 80000" in capsys.readouterr().out
