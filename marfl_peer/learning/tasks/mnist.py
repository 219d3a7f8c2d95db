"""Task `mnist`: MNIST and the convolutional network of MAR-FL's experiments (arXiv 2512.05234)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.classification import Classification
from marfl_peer.learning.tasks.folders import folder_to_read
from marfl_peer.learning.tasks.idx import find_idx, read_idx

MEAN, STD = 0.1307, 0.3081
SIDE = 28
REMEDY = "run `marfl-peer data fetch mnist`, or name the folder that holds the four MNIST files with --data-dir"


class MnistCnn(nn.Module):
    """conv 3x3 1-32, conv 3x3 32-64, max-pool 2, dense 9216-128, dense 128-10: 1,199,882 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dense1 = nn.Linear(9216, 128)
        self.dense2 = nn.Linear(128, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [b, 10] of pixels [b, 1, 28, 28]."""
        # Channels last, and ReLU after pooling a quarter of the values: the same function, in 0.7 of the time.
        hidden = functional.relu(self.conv1(pixels.to(memory_format=torch.channels_last)))
        hidden = functional.relu(functional.max_pool2d(self.conv2(hidden), 2))
        logits: Tensor = self.dense2(functional.relu(self.dense1(hidden.flatten(1))))
        return logits


class Mnist(Classification):
    """Which digit a 28x28 image shows. Images stay uint8 in memory: a quarter of what floats would take."""

    name = "mnist"

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def build_model(self) -> nn.Module:
        return MnistCnn()

    def load(self, data_dir: Path | None) -> TaskData:
        """Reads the four IDX files from `data_dir`, its subfolder `mnist`, or this user's cache.

        Raises: ConfigError for a file that is missing or damaged.
        """
        folder = folder_to_read("mnist", data_dir, self._environ)
        train_inputs, train_labels = _read_pair(folder, "train")
        test_inputs, test_labels = _read_pair(folder, "t10k")
        return TaskData(
            train_inputs=train_inputs,
            train_labels=train_labels,
            test_inputs=test_inputs,
            test_labels=test_labels,
        )

    def prepare(self, inputs: Tensor) -> Tensor:
        """uint8 [b, 28, 28] to float [b, 1, 28, 28] of mean 0 and deviation 1."""
        return inputs.unsqueeze(1).float().div_(255).sub_(MEAN).div_(STD)


def _read_pair(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    images_path = find_idx(folder, f"{part}-images", dimensions=3, remedy=REMEDY)
    labels_path = find_idx(folder, f"{part}-labels", dimensions=1, remedy=REMEDY)
    images = read_idx(images_path, dimensions=3, remedy=REMEDY)
    labels = read_idx(labels_path, dimensions=1, remedy=REMEDY).to(torch.int64)
    if images.shape[1:] != (SIDE, SIDE):
        raise ConfigError(str(images_path), tuple(images.shape), f"holds no 28x28 images; {REMEDY}")
    if len(images) != len(labels):
        raise ConfigError(
            str(labels_path), len(labels), f"holds not one label for each of {len(images)} images; {REMEDY}"
        )
    if len(labels) > 0 and int(labels.max()) > 9:
        raise ConfigError(str(labels_path), int(labels.max()), f"holds a label that is not a digit; {REMEDY}")
    return images, labels
