from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from click.testing import Result

from marfl_peer.errors import ConfigError

Invoke = Callable[..., Result]
StandIn = Callable[..., ModuleType]


class Rows:
    """As much of a tensor as the command looks at."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]


@pytest.fixture
def fetched(stand_in: StandIn) -> list[tuple[str, Path]]:
    calls: list[tuple[str, Path]] = []

    def fetch(dataset: str, target: Path, *, progress: Callable[[str, int], None]) -> tuple[Path, ...]:
        calls.append((dataset, target))
        for name, count in (("a.gz", 10), ("a.gz", 20), ("b.gz", 10)):
            progress(name, count)
        return (target / "a.gz", target / "b.gz")

    download = stand_in("marfl_peer.learning.tasks.download", fetch=fetch)
    stand_in("marfl_peer.learning.tasks", download=download)
    stand_in("marfl_peer.learning.tasks.folders", data_folder=lambda dataset, _: Path("/cache") / dataset)
    return calls


def test_fetch_names_each_file_once(invoke: Invoke, fetched: list[tuple[str, Path]]) -> None:
    result = invoke("data", "fetch", "mnist", "--data-dir", "d")
    assert (result.exit_code, fetched) == (0, [("mnist", Path("d"))])
    assert result.output == "fetching a.gz\nfetching b.gz\nmnist is in d\n"


def test_fetch_without_folder_takes_the_one_where_the_task_looks(
    invoke: Invoke, fetched: list[tuple[str, Path]]
) -> None:
    assert invoke("data", "fetch", "mnist").exit_code == 0
    assert fetched == [("mnist", Path("/cache/mnist"))]


def test_check_says_what_is_there(invoke: Invoke, stand_in: StandIn) -> None:
    asked: list[object] = []

    def load(data_dir: Path | None) -> SimpleNamespace:
        asked.append(data_dir)
        return SimpleNamespace(train_inputs=Rows(60_000, 28, 28), test_inputs=Rows(10_000, 28, 28))

    def load_task(name: str, *, encoder: str, data_dir: Path | None, folder: Path | None) -> SimpleNamespace:
        asked.extend((name, encoder, data_dir, folder))
        return SimpleNamespace(load=load)

    stand_in("marfl_peer.learning.tasks.registry", load_task=load_task)
    result = invoke("data", "check", "--task", "mnist", MARFL_DATA_DIR="d")
    assert (result.exit_code, asked) == (0, ["mnist", "hashing", Path("d"), None, Path("d")])
    assert result.output == "mnist: 60,000 training and 10,000 test samples of 28x28\n"
    asked.clear()
    assert invoke("data", "check", "--task", "20news", "--encoder", "minilm").exit_code == 0
    assert asked == ["20news", "minilm", None, None, None]


def test_check_of_a_damaged_file_is_one_line(invoke: Invoke, stand_in: StandIn) -> None:
    def load_task(name: str, **_: object) -> object:
        raise ConfigError("train-images-idx3-ubyte", None, "is cut off: fetch it again")

    stand_in("marfl_peer.learning.tasks.registry", load_task=load_task)
    result = invoke("data", "check")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "marfl-peer: error: train-images-idx3-ubyte: is cut off: fetch it again\n"
