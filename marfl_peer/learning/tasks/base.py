"""What a task is: a model, its data, a loss and a metric. Knows nothing of peers, partitions or training.

An own task is any object with the members of `Task`, made by a function without arguments and named on the
command line as `--task package.module:factory`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from marfl_peer.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskData:
    """All data of a task, on the CPU: of it a peer trains on its own shard only.

    Inputs may have any shape and type and are best kept raw (uint8 pixels, token ids): `Task.prepare`
    makes of each batch what the model takes. Raises: ConfigError if inputs and labels do not belong together.
    """

    train_inputs: Tensor
    """[n, ...]"""
    train_labels: Tensor
    """int64 [n]; partitions other than iid take them for classes"""
    test_inputs: Tensor
    """[k, ...]"""
    test_labels: Tensor
    """int64 [k]"""

    def __post_init__(self) -> None:
        for part, inputs, labels in (
            ("train", self.train_inputs, self.train_labels),
            ("test", self.test_inputs, self.test_labels),
        ):
            if labels.dtype != torch.int64 or labels.dim() != 1:
                raise ConfigError(
                    f"{part}_labels", f"{labels.dtype} {tuple(labels.shape)}", "must be int64 of shape [n]"
                )
            if inputs.dim() < 1 or len(inputs) != len(labels):
                counts = f"{tuple(inputs.shape)} for {len(labels)} labels"
                raise ConfigError(f"{part}_inputs", counts, "must hold one sample a label")


class Task(Protocol):
    """A model, its data, a loss and a metric.

    The methods are called from a worker thread, never two at a time. They must not keep state between calls:
    every peer makes a task of its own, and all must compute the same.
    """

    name: str

    def build_model(self) -> nn.Module:
        """A new model on the CPU. Draw from torch's random numbers only: they are seeded."""
        ...

    def load(self, data_dir: Path | None) -> TaskData:
        """The data, read from `data_dir`, or from where it usually lies if that is None.

        Must give the same samples in the same order at every peer, since shards are lists of indices.
        Raises: ConfigError that names the file at fault and the remedy.
        """
        ...

    def prepare(self, inputs: Tensor) -> Tensor:
        """A raw batch [b, ...] of `TaskData`, already on the model's device, as the model takes it."""
        ...

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar to differentiate; labels are int64 [b]."""
        ...

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """How many samples of the batch the outputs get right: a scalar."""
        ...


TASK_METHODS = ("build_model", "load", "prepare", "loss", "correct")
