"""scripts/reproduce as it is called: what it runs, what it writes, what it prints and how it exits."""

from __future__ import annotations

import importlib
import io
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

SCRIPTS = Path(__file__).parents[2] / "scripts"
FAKE = (sys.executable, str(Path(__file__).with_name("fake_marfl_peer.py")))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("reproduction.command")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    """Two experiments of few runs each."""
    registry, runs = (importlib.import_module(f"reproduction.{name}") for name in ("registry", "runs"))
    news, scaling = registry.EXPERIMENTS["20news"], registry.EXPERIMENTS["scaling"]

    def two(_: object) -> Sequence[Any]:
        return [runs.swarm(f"news-plain-{seed}", {"seed": seed}, needs_data=True) for seed in (1, 2)]

    def one(_: object) -> Sequence[Any]:
        return [runs.scaling("scaling-groups-of-4-mar", {"peers": 4})]

    def changed(experiment: Any, declared: Any) -> Any:
        return registry.Experiment(
            title=experiment.title, question=experiment.question, runs=declared, section=experiment.section
        )

    changed_ones = {"scaling": changed(scaling, one), "20news": changed(news, two)}
    for user in ("command", "page"):
        monkeypatch.setattr(importlib.import_module(f"reproduction.{user}"), "EXPERIMENTS", changed_ones)


def call(command: Any, tmp_path: Path, *arguments: str, manner: str = "", terminal: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    code = command.main(
        [*arguments, "--results", str(tmp_path / "results"), "--page", str(tmp_path / "results.md")],
        environment={**os.environ, "FAKE": manner},
        program=FAKE,
        console=Console(file=out, width=100, force_terminal=terminal),
    )
    return code, out.getvalue()


@pytest.mark.usefixtures("few")
def test_all_is_run_and_the_page_and_its_plots_are_written(command: Any, tmp_path: Path) -> None:
    code, out = call(command, tmp_path, "--data-dir", str(tmp_path))
    assert code == 0
    assert "[1/3] scaling-groups-of-4-mar: marfl-peer bench scaling --peers 4" in out
    page = (tmp_path / "results.md").read_text()
    assert "Every number is computed from the files in `results/`" in page
    assert "3 runs, " in page
    assert (tmp_path / "images" / "results-20news.svg").exists()
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "news-plain-1.json",
        "news-plain-2.json",
        "scaling-groups-of-4-mar.json",
    ]
    again, out = call(command, tmp_path, "--data-dir", str(tmp_path), manner="fail")
    assert again == 0, "nothing is left to run"
    assert "news-plain-2 is there already" in out
    assert (tmp_path / "results.md").read_text() == page


@pytest.mark.usefixtures("few")
def test_some_experiments_are_run_and_the_page_has_what_there_is_of_others(command: Any, tmp_path: Path) -> None:
    assert call(command, tmp_path, "--only", "scaling")[0] == 0, "no data are needed"
    code, out = call(command, tmp_path, "--only", "20news", "--data-dir", ".", terminal=True)
    assert code == 0
    assert "news-plain-2: done in" in out
    assert "Without figures" not in (tmp_path / "results.md").read_text()


@pytest.mark.usefixtures("few")
def test_failure_is_told_and_in_the_page(command: Any, tmp_path: Path) -> None:
    code, out = call(command, tmp_path, "--data-dir", ".", manner="fail")
    assert code == 1
    assert "news-plain-1 failed: exit code 1: Error: No such option: --mkd-iterations" in out
    assert "- `news-plain-1` failed: exit code 1" in (tmp_path / "results.md").read_text()


@pytest.mark.usefixtures("few")
def test_page_alone_runs_nothing(command: Any, tmp_path: Path) -> None:
    assert call(command, tmp_path, "--page-only", manner="fail")[0] == 0
    assert "Nothing has been measured yet." in (tmp_path / "results.md").read_text()


@pytest.mark.usefixtures("few")
def test_data_that_are_needed_and_not_named_are_an_error(
    command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MARFL_DATA_DIR", raising=False)
    with pytest.raises(SystemExit, match="2"):
        call(command, tmp_path)
    assert "name their folder, or set MARFL_DATA_DIR" in capsys.readouterr().err
    monkeypatch.setenv("MARFL_DATA_DIR", str(tmp_path))
    assert call(command, tmp_path)[0] == 0


@pytest.mark.usefixtures("few")
def test_interrupt_ends_with_its_own_code_and_without_a_page(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = importlib.import_module("reproduction.progress")

    def terminate(self: object, line: str) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(progress.Lines, "heard", terminate)
    before = signal.getsignal(signal.SIGTERM)
    code, out = call(command, tmp_path, "--only", "20news", "--data-dir", ".", manner="hang")
    assert code == 130
    assert "the same command goes on from there" in out
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "results.md").exists()


def test_list_runs_nothing(command: Any, tmp_path: Path) -> None:
    code, out = call(command, tmp_path, "--list", "--only", "privacy", "--size", "full", manner="fail")
    assert code == 0
    assert out.splitlines()[0].split()[:5] == ["privacy-0.0-1", "marfl-peer", "swarm", "--peers", "125"]
    assert not (tmp_path / "results").exists()


def test_quick_figures_do_not_replace_what_was_measured(
    command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--size", "quick", "--data-dir", str(tmp_path)], program=FAKE)
    assert "--size quick: needs --page" in capsys.readouterr().err
    assert call(command, tmp_path, "--size", "quick", "--page-only")[0] == 0
    assert "its figures say nothing" in (tmp_path / "results.md").read_text()


def test_some_runs_are_named_by_a_pattern(command: Any, tmp_path: Path) -> None:
    _, out = call(command, tmp_path, "--list", "--only", "parity-iid-*-1", "privacy")
    names = [line.split()[0] for line in out.splitlines()]
    assert names[:2] == ["parity-iid-mar-1", "parity-iid-fedavg-1"]
    assert all(name.startswith("privacy-") for name in names[2:])


def test_unknown_experiment_is_an_error(command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        call(command, tmp_path, "--only", "scaling", "nothing")
    assert "--only nothing: choose some of scaling, parity" in capsys.readouterr().err


def test_script_is_a_program(tmp_path: Path) -> None:
    script = SCRIPTS / "reproduce"
    assert script.stat().st_mode & stat.S_IXUSR
    listed = subprocess.run(
        [sys.executable, str(script), "--list"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "parity-iid-fedavg-3" in listed.stdout
