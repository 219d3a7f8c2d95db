"""Every declared run is a command that there is, with settings that can be."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from marfl_peer.cli.main import cli
from marfl_peer.cli.settings import read_settings

SCRIPTS = Path(__file__).parents[2] / "scripts"
EXPERIMENTS = ("scaling", "parity", "dropout", "20news", "privacy", "participation")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("reproduction.runs")


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    found: dict[str, Any] = importlib.import_module("reproduction.sizes").SIZES
    return found


@pytest.fixture
def experiments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    found: dict[str, Any] = importlib.import_module("reproduction.registry").EXPERIMENTS
    return found


def command_of(run: Any) -> click.Command:
    found: click.Command = cli
    for word in run.kind.value.split():
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return found


def test_experiments_are_those_of_the_page(experiments: dict[str, Any]) -> None:
    assert tuple(experiments) == EXPERIMENTS


@pytest.mark.parametrize("size", ["small", "full", "quick"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_runs_are_commands_with_settings_that_can_be(
    name: str, size: str, experiments: dict[str, Any], sizes: dict[str, Any], tmp_path: Path
) -> None:
    declared = experiments[name].runs(sizes[size])
    assert declared
    for run in declared:
        parsed(run, tmp_path)


def parsed(run: Any, folder: Path) -> None:
    """Raises: UsageError, ConfigError."""
    words = shlex.split(run.command)[1 + len(run.kind.value.split()) :]
    command_of(run).make_context(run.kind.value, words, parent=click.Context(cli, **cli.context_settings))
    settings = {name: value for name, value in run.flags.items() if name not in ("peers", "churn", "vector_bytes")}
    chosen = read_settings(settings, {}, folder)
    for name, value in settings.items():
        assert str(getattr(chosen.settings, name)) == value, "a number is written as it is read"


def test_names_are_of_one_command_each(experiments: dict[str, Any], sizes: dict[str, Any]) -> None:
    for size in sizes.values():
        declared = [run for one in experiments.values() for run in one.runs(size)]
        by_name = {run.name: run.command for run in declared}
        assert len(by_name) == len(declared)
        assert len(set(by_name.values())) == len(declared), "nothing is run twice"


def test_small_and_full_declare_the_same_questions(experiments: dict[str, Any], sizes: dict[str, Any]) -> None:
    for one in experiments.values():
        small, full = ({run.name for run in one.runs(sizes[size])} for size in ("small", "full"))
        assert small <= full


def test_command_is_quoted_with_a_place_for_the_data(runs: ModuleType) -> None:
    run = runs.swarm("a", {"peers": 4, "batch_size": 8}, {"seed": 3, "batch_size": 9}, needs_data=True)
    assert run.command == "marfl-peer swarm --peers 4 --batch-size 9 --seed 3 --data-dir DIR"
    assert run.arguments("/x y")[-2:] == ("--data-dir", "/x y")
    assert run.seed == 3
    assert runs.scaling("b", {"peers": "4,5"}).command == "marfl-peer bench scaling --peers 4,5"


def test_commands_that_differ_in_the_seed_are_one(runs: ModuleType) -> None:
    declared = [runs.swarm(f"a{seed}", {"peers": 2, "seed": seed}) for seed in (1, 2)]
    declared += [runs.swarm("b", {"peers": 3, "seed": 1}), runs.scaling("c", {"peers": 4})]
    assert runs.grouped(declared) == [
        ("marfl-peer swarm --peers 2 --seed SEED", [1, 2]),
        ("marfl-peer swarm --peers 3 --seed SEED", [1]),
        ("marfl-peer bench scaling --peers 4", []),
    ]
