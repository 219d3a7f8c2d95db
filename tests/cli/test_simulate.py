from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import Result

Invoke = Callable[..., Result]
StandIn = Callable[..., ModuleType]


@pytest.fixture
def calls(stand_in: StandIn) -> list[tuple[Any, ...]]:
    made: list[tuple[Any, ...]] = []

    class Simulate:
        def __init__(self, *, faults: str, given: dict[str, object], as_json: bool) -> None:
            self._setup = faults, given, as_json

        def one(self, seed: int, *, summary: Path | None, trace: Path | None) -> int:
            made.append(("one", *self._setup, seed, summary, trace))
            return 0

        def many(self, seeds: range) -> int:
            made.append(("many", *self._setup, seeds))
            return 1

    stand_in("marfl_peer.lab.simulator.command", Simulate=Simulate)
    return made


def test_one_run_without_faults_is_the_default(invoke: Invoke, calls: list[tuple[Any, ...]]) -> None:
    assert invoke("simulate").exit_code == 0
    assert calls == [("one", "none", {}, False, 0, None, None)]


def test_what_is_given_reaches_the_scenario_from_flags_and_environment(
    invoke: Invoke, calls: list[tuple[Any, ...]]
) -> None:
    result = invoke(
        *("simulate", "--peers", "12", "--seed", "9", "--faults", "random", "--iterations", "4", "--json"),
        *("--summary", "s.json", "--trace", "t.txt", "--task", "digits"),
        MARFL_GROUP_SIZE="3",
        MARFL_LR="0.5",
    )
    assert result.exit_code == 0
    given = {"peers": 12, "iterations": 4, "group_size": 3, "task": "digits"}
    assert calls == [("one", "random", given, True, 9, Path("s.json"), Path("t.txt"))]


def test_overlap_is_the_scenarios_too(invoke: Invoke, calls: list[tuple[Any, ...]]) -> None:
    assert invoke("simulate", "--overlap", "--trace-mixing").exit_code == 0
    assert calls == [("one", "none", {"overlap": True, "trace_mixing": True}, False, 0, None, None)]


def test_many_seeds_end_with_what_came_of_them(invoke: Invoke, calls: list[tuple[Any, ...]]) -> None:
    assert invoke("simulate", "--seeds", "5..7", "--faults", "dead-leader").exit_code == 1
    assert calls == [("many", "dead-leader", {}, False, range(5, 8))]


@pytest.mark.parametrize("seeds", ["7", "9..5", "a..b", "..", "1..", "-1..2"])
def test_seeds_that_cannot_be_are_refused(invoke: Invoke, calls: list[tuple[Any, ...]], seeds: str) -> None:
    result = invoke("simulate", "--seeds", seeds)
    assert (result.exit_code, calls) == (2, [])
    assert result.stderr.startswith("marfl-peer: error: --seeds: ")


@pytest.mark.parametrize("option", ["--summary", "--trace"])
def test_files_of_one_run_do_not_go_with_many(invoke: Invoke, calls: list[tuple[Any, ...]], option: str) -> None:
    result = invoke("simulate", "--seeds", "1..2", option, "file")
    assert (result.exit_code, calls) == (2, [])
    assert "one --seed" in result.stderr
