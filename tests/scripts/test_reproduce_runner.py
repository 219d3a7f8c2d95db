"""What is run, what is kept of it, and what happens when it fails, hangs or is interrupted."""

from __future__ import annotations

import base64
import importlib
import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
FAKE = (sys.executable, str(Path(__file__).with_name("fake_marfl_peer.py")))


@pytest.fixture(autouse=True)
def search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def module(name: str) -> ModuleType:
    return importlib.import_module(f"reproduction.{name}")


class Heard:
    """A progress that keeps what it is told, and may interrupt."""

    def __init__(self, *, interrupts_at: str = "") -> None:
        self.told: list[str] = []
        self._interrupts_at = interrupts_at

    def begins(self, run: Any, number: int, total: int) -> None:
        self.told.append(f"begins {run.name} {number}/{total}")

    def heard(self, line: str) -> None:
        self.told.append(line)
        if line == self._interrupts_at:
            raise KeyboardInterrupt

    def ended(self, result: Any) -> None:
        self.told.append(f"ended {result.name} {result.failure}".strip())

    def kept(self, run: Any) -> None:
        self.told.append(f"kept {run.name}")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    def make_runner(manner: str = "", *, limit_s: float = 60.0) -> Any:
        runner = module("runner")
        return runner.Runner(
            program=FAKE,
            environment=runner.clean({**os.environ, "FAKE": manner, "MARFL_SEED": "7"}),
            folder=tmp_path / "results",
            data_dir=None,
            limit_s=limit_s,
            versions=runner.versions(),
        )

    return make_runner


def swarm(name: str = "a", **more: Any) -> Any:
    return module("runs").swarm(name, {"peers": 4, "seed": 3}, **more)


def kept(tmp_path: Path, name: str = "a") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "results" / f"{name}.json").read_text())
    return found


def test_figures_of_a_swarm_are_kept_with_command_and_versions(make: Callable[..., Any], tmp_path: Path) -> None:
    progress = Heard()
    assert make().make_all([swarm()], progress, again=False) == []
    assert progress.told == ["begins a 1/1", "iteration 1/1  accuracy 33.33 %", "ended a"]
    result = kept(tmp_path)
    assert result["command"] == "marfl-peer swarm --peers 4 --seed 3"
    assert (result["seed"], result["failure"], result["parameters"], result["model"]) == (3, "", None, None)
    assert result["cpu_seconds"] > 0
    assert set(result["versions"]) == {"marfl_peer", "source", "torch", "python", "cpus"}
    (row,) = result["summary"]["iterations"]
    assert row["test_accuracy_mean"] == 0.33333333
    assert row["epsilon_mate"] is None


def test_file_has_an_iteration_a_line(make: Callable[..., Any], tmp_path: Path) -> None:
    make().make_all([swarm()], Heard(), again=False)
    lines = (tmp_path / "results" / "a.json").read_text().splitlines()
    assert sum('"test_accuracy_mean"' in line for line in lines) == 1
    assert len(lines) < 40


def test_figures_of_a_bench_are_kept(make: Callable[..., Any], tmp_path: Path) -> None:
    progress = Heard()
    assert make().make_all([module("runs").scaling("b", {"peers": 4})], progress, again=False) == []
    assert progress.told[1] == "measuring", "what it tells while it runs is not among its figures"
    assert kept(tmp_path, "b")["scaling"]["runs"][0]["bytes_sent"]["tensor"] == 1500.0


def test_model_is_kept_as_its_values_in_the_order_of_their_names(make: Callable[..., Any], tmp_path: Path) -> None:
    runs = [swarm(keeps_model=True), swarm("c", counts_parameters=True)]
    assert make().make_all(runs, Heard(), again=False) == []
    assert struct.unpack("<3f", base64.b64decode(kept(tmp_path)["model"])) == (1.0, 2.0, 3.0)
    assert (kept(tmp_path, "c")["parameters"], kept(tmp_path, "c")["model"]) == (3, None)


def test_what_is_there_is_not_made_again_unless_wanted(make: Callable[..., Any], tmp_path: Path) -> None:
    make().make_all([swarm()], Heard(), again=False)
    progress = Heard()
    assert make("fail").make_all([swarm()], progress, again=False) == []
    assert progress.told == ["kept a"]
    (failed,) = make("fail").make_all([swarm()], Heard(), again=True)
    assert failed.failure == "exit code 1: Error: No such option: --mkd-iterations"
    assert kept(tmp_path)["failure"] == "", "a failure leaves what was there"


def test_figures_of_another_command_are_not_taken(make: Callable[..., Any], tmp_path: Path) -> None:
    make().make_all([swarm()], Heard(), again=False)
    other = module("runs").swarm("a", {"peers": 5, "seed": 3})
    assert module("results").read(other, tmp_path / "results") is None
    make().make_all([other], Heard(), again=False)
    assert kept(tmp_path)["command"] == "marfl-peer swarm --peers 5 --seed 3"


@pytest.mark.parametrize(
    ("manner", "limit_s", "why"),
    [
        ("fail", 60.0, "exit code 1: Error: No such option: --mkd-iterations"),
        ("silent", 60.0, "it left no figures"),
        ("deaf", 0.3, "took longer than 0 s and was stopped"),
    ],
)
def test_failure_is_kept_with_its_reason_and_tried_again(
    manner: str, limit_s: float, why: str, make: Callable[..., Any], tmp_path: Path
) -> None:
    progress = Heard()
    (failed,) = make(manner, limit_s=limit_s).make_all([swarm()], progress, again=False)
    assert why in failed.failure
    assert why in kept(tmp_path)["failure"]
    assert progress.told[-1] == f"ended a {failed.failure}"
    assert make().make_all([swarm()], Heard(), again=False) == []
    assert kept(tmp_path)["failure"] == ""


def test_interrupt_reaches_the_run_and_what_was_made_is_kept(make: Callable[..., Any], tmp_path: Path) -> None:
    make().make_all([swarm()], Heard(), again=False)
    with pytest.raises(KeyboardInterrupt):
        make("hang").make_all([swarm(), swarm("b")], Heard(interrupts_at="hanging"), again=False)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["a.json"]


@pytest.mark.parametrize("manner", ["hang", "deaf"])
def test_interrupted_process_may_leave_and_is_killed_when_it_does_not(manner: str, tmp_path: Path) -> None:
    process = module("process")

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run_process(
            FAKE,
            folder=tmp_path,
            environment={**os.environ, "FAKE": manner},
            limit_s=60.0,
            heard=interrupt,
            grace_s=30.0 if manner == "hang" else 0.05,
        )
    assert (tmp_path / "left").exists() == (manner == "hang")


def test_settings_of_the_one_who_calls_have_no_part_in_it() -> None:
    clean = module("runner").clean({"MARFL_SEED": "7", "HOME": "/h", "PYTHONPATH": "/p"})
    assert clean.keys() == {"HOME", "PYTHONPATH", "OMP_NUM_THREADS", "COLUMNS"}
    assert clean["PYTHONPATH"] == f"{SCRIPTS.parent}{os.pathsep}/p"


def test_unreadable_file_counts_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    assert module("results").read(swarm(), tmp_path) is None
    assert module("results").read_all([swarm()], tmp_path / "nowhere") == {}
