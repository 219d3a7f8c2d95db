"""Task `digits`: the 1,797 handwritten 8x8 digits that scikit-learn brings along; nothing to download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.classification import Classification

MEAN, STD = 4.884, 6.017
TEST_SHARE = 5
"""One sample in so many is held out for the test."""


class DigitsNet(nn.Module):
    """conv 3x3 1-32, max-pool 2, ReLU, dense 512-10: 5,450 parameters, learnt within a few iterations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 32, 3, padding=1)
        self.dense = nn.Linear(32 * 4 * 4, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [b, 10] of pixels [b, 1, 8, 8]."""
        hidden = functional.relu(functional.max_pool2d(self.conv(pixels), 2))
        logits: Tensor = self.dense(hidden.flatten(1))
        return logits


class Digits(Classification):
    """Which digit an 8x8 image shows."""

    name = "digits"

    def build_model(self) -> nn.Module:
        return DigitsNet()

    def load(self, data_dir: Path | None) -> TaskData:
        """Every fifth image of each class is a test image, the same ones always; `data_dir` is not needed."""
        images, labels = load_digits().images.astype(np.uint8), load_digits().target.astype(np.int64)
        test = np.zeros(len(labels), dtype=bool)
        for digit in range(10):
            test[np.flatnonzero(labels == digit)[::TEST_SHARE]] = True
        return TaskData(
            train_inputs=torch.from_numpy(images[~test]),
            train_labels=torch.from_numpy(labels[~test]),
            test_inputs=torch.from_numpy(images[test]),
            test_labels=torch.from_numpy(labels[test]),
        )

    def prepare(self, inputs: Tensor) -> Tensor:
        """uint8 [b, 8, 8] with values 0..16 to float [b, 1, 8, 8] of mean 0 and deviation 1."""
        return inputs.unsqueeze(1).float().sub_(MEAN).div_(STD)
