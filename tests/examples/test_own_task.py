from __future__ import annotations

import sys
from pathlib import Path

import pytest

from marfl_peer.config import Settings
from marfl_peer.learning.partition import split
from marfl_peer.learning.tasks.registry import load_data, load_task
from marfl_peer.learning.trainer import Trainer

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_own_task_is_found_from_its_folder_and_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", list(sys.path))
    task = load_task("own_task:factory")
    assert task.name == "clouds"
    data = load_data(task, None)
    shards = split(data.train_labels, data.test_labels, shards=4, scheme="dirichlet:1.0", seed=1)
    trainer = Trainer(task, data, shards[0], Settings(task="own_task:factory"))
    before = trainer.evaluate("full")
    first, *_, last = [trainer.local_update().loss for _ in range(20)]
    after = trainer.evaluate("full")
    assert last < 0.7 * first
    assert after.correct > before.correct
    assert after.correct / after.seen > 0.6
