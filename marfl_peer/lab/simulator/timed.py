"""A task whose mini-batches take virtual time: any task, on a simulated host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from marfl_peer.lab.simulator.blobs import Blobs
from marfl_peer.learning.tasks.base import Task, TaskData
from marfl_peer.learning.tasks.registry import load_data, load_task


class Timed:
    """A `Task` like `task`. `charge(seconds)` makes the host's time pass: once a mini-batch."""

    def __init__(self, task: Task, charge: Callable[[float], None], batch_s: float) -> None:
        self.name = task.name
        self._task, self._charge, self._batch_s = task, charge, batch_s

    def build_model(self) -> nn.Module:
        return self._task.build_model()

    def load(self, data_dir: Path | None) -> TaskData:
        return self._task.load(data_dir)

    def prepare(self, inputs: Tensor) -> Tensor:
        return self._task.prepare(inputs)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        self._charge(self._batch_s)
        return self._task.loss(outputs, labels)

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self._task.correct(outputs, labels)


def task_of(name: str, *, shards: int) -> tuple[Task, TaskData]:
    """The task of that name, `blobs` or one that peers know, and its data, which are to be cut into so many shards.
    Raises: ConfigError."""
    task = Blobs(shards) if name == Blobs.name else load_task(name)
    return task, load_data(task, None)
