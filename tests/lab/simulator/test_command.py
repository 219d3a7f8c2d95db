"""What the command runs, prints and ends with."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from marfl_peer.cli.main import cli
from marfl_peer.errors import ConfigError
from marfl_peer.lab.simulator import command
from marfl_peer.lab.simulator.command import BROKEN, INTERRUPTED, OK, Simulate
from marfl_peer.lab.simulator.report import Report, Violation
from marfl_peer.lab.simulator.sweep import sweep


class Told:
    """A command with its output."""

    def __init__(self, *, faults: str = "none", as_json: bool = False, terminal: bool = False, **given: Any) -> None:
        self._out, self._err = io.StringIO(), io.StringIO()
        self.command = Simulate(
            faults=faults,
            given=given,
            as_json=as_json,
            out=Console(file=self._out, soft_wrap=True, markup=False, highlight=False),
            err=Console(file=self._err, force_terminal=terminal, markup=False, highlight=False),
        )

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def err(self) -> str:
        return self._err.getvalue()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every seed that 3 divides breaks an invariant."""

    def play(scenario: Any) -> Report:
        report = Report(seed=scenario.seed, peers=scenario.peers)
        if scenario.seed % 3 == 0:
            report.violations.append(
                Violation(seed=scenario.seed, invariant="I1", message="two models", story=("first", "then"))
            )
        return report

    def with_play(scenarios: Any, **options: Any) -> Any:
        return sweep(scenarios, **{**options, "play": play})

    monkeypatch.setattr(command, "sweep", with_play)


def test_one_run_is_told_and_written_down(tmp_path: Path) -> None:
    told = Told(peers=3, iterations=2)
    summary, trace = tmp_path / "summary.json", tmp_path / "trace.txt"
    assert told.command.one(7, summary=summary, trace=trace) == OK
    assert told.out.startswith("seed 7: 3 peers, grid 3, butterfly, float32, 2 iterations, 0 faults planned\n")
    written = json.loads(summary.read_text())
    assert (written["peers"], len(written["iterations"]), written["peers_finished"]) == (3, 2, 3)
    assert "IterationFinished" in trace.read_text()


def test_json_is_all_that_is_printed() -> None:
    told = Told(peers=3, iterations=1, as_json=True)
    assert told.command.one(7, summary=None, trace=None) == OK
    assert json.loads(told.out) == {"seeds_run": 1, "violations": []}


def test_many_seeds_end_with_their_count() -> None:
    told = Told(peers=2, iterations=1)
    assert told.command.many(range(1, 4)) == OK
    assert told.out.startswith("3 of 3 seeds run, 0 broke an invariant; ")


def test_first_violation_is_told_with_its_story_and_how_to_replay_it(broken: None) -> None:
    told = Told(faults="random", peers=6, group_size=2)
    assert told.command.many(range(1, 10)) == BROKEN
    assert told.out.splitlines()[:4] == [
        "seed 3 breaks I1: two models",
        "  first",
        "  then",
        "replay it: marfl-peer simulate --seed 3 --faults random --group-size 2 --peers 6",
    ]
    assert told.out.count("replay it") == 1
    assert "9 of 9 seeds run, 3 broke an invariant" in told.out


@pytest.mark.parametrize(("overlap", "flag"), [(True, "--overlap"), (False, "--no-overlap")])
def test_replay_writes_a_switch_as_one(overlap: bool, flag: str) -> None:
    told = Told(peers=4, overlap=overlap)
    assert told.command.replay(3) == f"marfl-peer simulate --seed 3 --faults none {flag} --peers 4"


def test_json_lists_every_violation(broken: None) -> None:
    told = Told(as_json=True)
    assert told.command.many(range(1, 10)) == BROKEN
    result = json.loads(told.out)
    assert result["seeds_run"] == 9
    assert [(entry["seed"], entry["invariant"], entry["story"]) for entry in result["violations"]] == [
        (seed, "I1", ["first", "then"]) for seed in (3, 6, 9)
    ]
    assert result["violations"][0]["replay"] == "marfl-peer simulate --seed 3 --faults none"


def test_progress_is_a_bar_on_a_terminal_and_a_line_now_and_then_elsewhere(broken: None) -> None:
    plain, terminal = Told(as_json=True), Told(as_json=True, terminal=True)
    plain.command.many(range(101))
    terminal.command.many(range(101))
    assert plain.err.splitlines() == [
        "50 of 101 seeds, 17 broke an invariant",
        "100 of 101 seeds, 34 broke an invariant",
    ]
    assert "101/101" in terminal.err


@pytest.mark.parametrize("faults", ["dead-owner", "random"])
def test_plans_are_known_by_name_and_drawn_from_the_seed(faults: str) -> None:
    told = Told(faults=faults, peers=4, iterations=3)
    told.command.one(2, summary=None, trace=None)
    assert told.out.startswith("seed 2: 4 peers")


def test_plan_of_a_file_is_carried_out(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[[fault]]\nwhat = "crash"\npeers = 2\nat_s = 0.4\n')
    told = Told(faults=str(plan), peers=3, iterations=3)
    assert told.command.one(2, summary=None, trace=None) == OK
    assert "crash of peer 2 at 0.400 s" in told.out
    assert "2 of 3 peers came to their end" in told.out


def test_faults_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ConfigError, match="dead-leader"):
        Told(faults="chaos")


def test_interrupt_ends_after_the_run_under_way_and_the_next_one_at_once(
    broken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    handlers: list[Callable[..., Any]] = []
    monkeypatch.setattr(signal, "signal", lambda _, handler: handlers.append(handler))
    seeds = iter(range(1, 3))

    def interrupted() -> range:
        return range(1, 3)

    class Seeds(list[int]):
        def __iter__(self) -> Any:
            yield next(seeds)
            handlers[0](signal.SIGINT, None)
            yield next(seeds)

    assert told.command.many(Seeds(interrupted())) == INTERRUPTED
    assert "1 of 2 seeds run" in told.out
    with pytest.raises(KeyboardInterrupt):
        handlers[0](signal.SIGINT, None)


def test_same_seed_prints_the_same_trace_in_every_process(tmp_path: Path) -> None:
    """The other one hashes texts in another way than this one, which has not drawn that number."""
    here, there = tmp_path / "here", tmp_path / "there"
    arguments = ("simulate", "--faults", "random", "--seed", "23", "--peers", "6", "--iterations", "3", "--trace")
    CliRunner().invoke(cli, [*arguments, str(here)])
    subprocess.run(
        [sys.executable, "-m", "marfl_peer", *arguments, str(there)],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
        check=False,
    )
    assert here.read_text() == there.read_text()
    assert "fault: " in here.read_text()
