"""A task of your own: which of three clouds does a point belong to?

From the folder of this file:  marfl-peer swarm --peers 4 --task own_task:factory
"""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import make_classification
from torch import Tensor, nn
from torch.nn import functional

from marfl_peer.learning.tasks.base import TaskData

FEATURES, CLASSES, TRAIN_SAMPLES, TEST_SAMPLES = 20, 3, 1600, 400


class Clouds:
    """Points in 20 dimensions, made up anew by every peer: from one seed, so that all have the same ones."""

    name = "clouds"

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, CLASSES))

    def load(self, data_dir: Path | None) -> TaskData:
        points, labels = make_classification(
            n_samples=TRAIN_SAMPLES + TEST_SAMPLES,
            n_features=FEATURES,
            n_informative=8,
            n_classes=CLASSES,
            class_sep=1.5,
            random_state=7,
        )
        inputs = torch.from_numpy(points).float()
        targets = torch.from_numpy(labels).long()
        return TaskData(
            train_inputs=inputs[:TRAIN_SAMPLES],
            train_labels=targets[:TRAIN_SAMPLES],
            test_inputs=inputs[TRAIN_SAMPLES:],
            test_labels=targets[TRAIN_SAMPLES:],
        )

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, labels)

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.argmax(dim=1) == labels).sum()


def factory() -> Clouds:
    """What --task own_task:factory calls."""
    return Clouds()
