"""The small task that simulated peers learn: which of three clouds of points a point belongs to.

Its model has 15 parameters, its data are made from nothing but a seed.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from marfl_peer.learning.tasks.base import TaskData

CLASSES, FEATURES = 3, 4
TRAIN, TEST = 240, 60


def blobs(seed: int = 0, *, train: int = TRAIN) -> TaskData:
    """`train` samples to learn from, in clouds of deviation 1 around centres of deviation 2, the same for a seed."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2.0 * torch.randn(CLASSES, FEATURES, generator=generator)
    labels = torch.arange(train + TEST) % CLASSES
    inputs = centres[labels] + torch.randn(train + TEST, FEATURES, generator=generator)
    return TaskData(
        train_inputs=inputs[:train],
        train_labels=labels[:train],
        test_inputs=inputs[train:],
        test_labels=labels[train:],
    )


class Blobs:
    """A `Task`, with a sample or more for each of `shards`."""

    name = "blobs"

    def __init__(self, shards: int = 1) -> None:
        self._train = max(TRAIN, shards)

    def build_model(self) -> nn.Module:
        return nn.Linear(FEATURES, CLASSES)

    def load(self, data_dir: Path | None) -> TaskData:
        return blobs(train=self._train)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, labels)

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.argmax(1) == labels).sum()
