from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.learning.tasks.mnist import Mnist
from marfl_peer.learning.tasks.registry import build_initial_model, load_data, load_task

SOURCE = """
from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.digits import Digits

number = 3
make = Digits

def broken():
    raise KeyError("lost")

def particular():
    raise ConfigError("my setting", 1, "use 2")

def nothing():
    return None

def class_itself():
    return Digits

class Half:
    name = "half"
    def build_model(self): ...
    def loss(self, outputs, labels): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("marfl_given_task", "marfl_broken_task"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "marfl_given_task.py").write_text(SOURCE)
    (tmp_path / "marfl_broken_task.py").write_text("import marfl_no_such_library")
    return tmp_path


def test_load_task_knows_its_own() -> None:
    assert isinstance(load_task("digits"), Digits)
    assert isinstance(load_task("mnist"), Mnist)


def test_load_task_finds_a_factory_in_the_given_and_the_current_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_task("marfl_given_task:make", folder=folder).name == "digits"
    for named in (None, Path()):
        monkeypatch.delitem(sys.modules, "marfl_given_task")
        sys.path.remove(str(folder))
        monkeypatch.chdir(folder)
        assert load_task("marfl_given_task:make", folder=named).name == "digits"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "choose one of digits, mnist, 20news, or write package.module:factory"),
        (":make", "choose one of"),
        ("marfl_given_task:", "choose one of"),
        ("marfl_absent_task:make", "does not import: ModuleNotFoundError: No module named 'marfl_absent_task'"),
        ("marfl_broken_task:make", "No module named 'marfl_no_such_library'"),
        (".relative:make", "does not import: TypeError"),
        ("marfl_given_task:absent", r"marfl_given_task.py\) has no 'absent'"),
        ("sys:absent", r"built in\) has no 'absent'"),
        ("marfl_given_task:number", "'number' cannot be called"),
        ("marfl_given_task:broken", "its factory raised KeyError: 'lost'"),
        ("marfl_given_task:particular", "my setting: 1: use 2"),
        ("marfl_given_task:nothing", "NoneType, which lacks name, build_model, load, prepare, loss, correct"),
        ("marfl_given_task:class_itself", "the class Digits: return an instance"),
        ("marfl_given_task:Half", "Half, which lacks load, prepare, correct of a Task"),
    ],
)
def test_load_task_that_is_none_says_why(folder: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_task(name, folder=folder)


def test_load_data_of_a_task_gives_it() -> None:
    assert len(load_data(Digits(), None).train_labels) > 1400


def test_load_data_that_fails_names_task_and_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: Digits, data_dir: Path | None) -> None:
        raise FileNotFoundError("points.csv")

    def nothing(self: Digits, data_dir: Path | None) -> None:
        return None

    def particular(self: Digits, data_dir: Path | None) -> None:
        raise ConfigError("my file", "x", "mend it")

    for load, message in (
        (lost, "digits.*FileNotFoundError: points.csv"),
        (nothing, "returned NoneType"),
        (particular, "mend it"),
    ):
        monkeypatch.setattr(Digits, "load", load)
        with pytest.raises(ConfigError, match=message):
            load_data(Digits(), None)


def test_build_initial_model_follows_the_seed_and_leaves_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build_initial_model(Digits(), 1)
    assert torch.equal(torch.rand(3), expected)
    again, other = build_initial_model(Digits(), 1), build_initial_model(Digits(), 2**70)
    vectors = [nn.utils.parameters_to_vector(model.parameters()) for model in (first, again, other)]
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])


def test_build_initial_model_that_gives_none_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Digits) -> None:
        raise RuntimeError("no weights")

    def particular(self: Digits) -> None:
        raise ConfigError("my layer", 0, "use one")

    for build, message in (
        (broken, "RuntimeError: no weights"),
        (particular, "use one"),
        (lambda self: 3, "returned int, not a torch.nn.Module"),
        (lambda self: nn.Flatten(), "no parameter to train"),
    ):
        monkeypatch.setattr(Digits, "build_model", build)
        with pytest.raises(ConfigError, match=message):
            build_initial_model(Digits(), 1)
