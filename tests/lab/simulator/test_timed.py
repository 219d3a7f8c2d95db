"""Tasks that take their host's time."""

from __future__ import annotations

import pytest
import torch

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab.simulator.timed import Timed, task_of
from marfl_peer.learning.partition import split
from marfl_peer.learning.tasks.base import TASK_METHODS
from marfl_peer.learning.trainer import Trainer


@pytest.mark.parametrize("name", ["blobs", "digits"])
def test_timed_task_learns_as_its_task_does_and_charges_every_batch(name: str) -> None:
    charged: list[float] = []
    inner, data = task_of(name, shards=8)
    task = Timed(inner, charged.append, 0.25)
    assert task.name == name
    assert all(callable(getattr(task, method)) for method in TASK_METHODS)
    shards = split(data.train_labels, data.test_labels, shards=4, scheme="iid", seed=0)
    settings = Settings(local_steps=3, batch_size=8)
    timed, plain = Trainer(task, data, shards[0], settings), Trainer(inner, data, shards[0], settings)
    timed.local_update()
    plain.local_update()
    assert charged == [0.25] * 3
    for one, other in zip(timed.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_task_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose one of"):
        task_of("nothing", shards=8)
