from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from marfl_peer.cli.init import STARTER, write_starter
from marfl_peer.cli.options import choose
from marfl_peer.errors import ConfigError
from marfl_peer.learning.partition import split
from marfl_peer.learning.tasks.registry import load_data, load_task
from marfl_peer.learning.trainer import Trainer

Invoke = Callable[..., Result]


@pytest.fixture
def search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is imported in the test is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mytask", raising=False)


def test_files_are_written_and_the_next_command_is_told(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("init", "a task/mine")
    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "a task/mine").iterdir()) == sorted(STARTER)
    assert "marfl-peer swarm --config 'a task/mine/marfl.toml' --peers 4" in result.output


@pytest.mark.parametrize("name", STARTER)
def test_nothing_is_replaced(invoke: Invoke, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("mine")
    result = invoke("init", "mine")
    assert result.exit_code == 2
    assert f"mine/{name}': is there already" in result.stderr
    assert [path.read_text() for path in (tmp_path / "mine").iterdir()] == ["mine"]


def test_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written \(Not a directory\)|cannot be written \(File exists\)"):
        write_starter(tmp_path / "file" / "mine")


@pytest.mark.usefixtures("search_path", "invoke")
def test_starter_is_found_from_elsewhere_and_learns(tmp_path: Path) -> None:
    write_starter(tmp_path / "mine")
    chosen = choose({"config": tmp_path / "mine" / "marfl.toml"})
    settings = chosen.settings
    assert settings.task_dir == tmp_path / "mine"
    assert settings.state_dir == tmp_path / "mine" / "marfl-state"
    task = load_task(settings.task, folder=settings.task_dir)
    data = load_data(task, None)
    assert len(data.train_labels) == 1600
    shards = split(data.train_labels, data.test_labels, shards=chosen.peers, scheme="iid", seed=0)
    trainer = Trainer(task, data, shards[0], settings)
    before = trainer.evaluate("full")
    first, *_, last = [trainer.local_update().loss for _ in range(60)]
    after = trainer.evaluate("full")
    assert last < 0.6 * first
    assert after.correct > before.correct
    assert after.correct / after.seen > 0.7


@pytest.mark.usefixtures("search_path")
def test_starter_gives_every_peer_the_same_samples(tmp_path: Path) -> None:
    write_starter(tmp_path)
    one, other = (load_task("mytask:factory", folder=tmp_path).load(None) for _ in range(2))
    assert one.train_inputs.equal(other.train_inputs)
    assert one.test_labels.equal(other.test_labels)


def test_readme_shows_commands_that_there_are(invoke: Invoke, tmp_path: Path) -> None:
    write_starter(tmp_path)
    lines = [line.split() for line in (tmp_path / "README.md").read_text().splitlines() if "    marfl-peer" in line]
    assert len(lines) == 6
    for _, *words in lines:
        assert invoke(*words[: 2 if words[0] == "data" else 1], "--help").exit_code == 0
    assert set(tomllib.loads((tmp_path / "marfl.toml").read_text())) >= {"task", "task_dir", "peers"}
