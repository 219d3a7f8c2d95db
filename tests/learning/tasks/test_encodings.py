from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from marfl_peer.learning.tasks.encodings import kept


class Maker:
    """Counts how often it worked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, Tensor]:
        self.times += 1
        time.sleep(0.01)
        return {"x": torch.arange(5, dtype=torch.int16), "y": torch.tensor([7])}


def test_what_was_made_once_is_read_from_then_on(tmp_path: Path) -> None:
    make = Maker()
    for _ in range(3):
        tensors = kept(tmp_path / "new/folder", "a", make)
        assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"x": [0, 1, 2, 3, 4], "y": [7]}
    kept(tmp_path / "new/folder", "b", make)
    assert make.times == 2


@pytest.mark.parametrize("damage", [b"", b"x", b"\xff" * 100])
def test_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    make = Maker()
    kept(tmp_path, "a", make)
    (tmp_path / "a.safetensors").write_bytes(damage)
    assert kept(tmp_path, "a", make)["y"].tolist() == [7]
    assert kept(tmp_path, "a", make)["y"].tolist() == [7]
    assert make.times == 2


def test_who_comes_second_waits_for_the_first(tmp_path: Path) -> None:
    make = Maker()
    threads = [threading.Thread(target=kept, args=(tmp_path, "a", make)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.times == 1


def test_folder_that_cannot_be_made_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    make = Maker()
    for times in (1, 2):
        assert kept(tmp_path / "file/folder", "a", make)["y"].tolist() == [7]
        assert make.times == times


def test_interrupted_work_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt() -> dict[str, Tensor]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path, "a", interrupt)
    assert kept(tmp_path, "a", Maker())["y"].tolist() == [7]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.lock", "a.safetensors"]
