"""The task of peers that are measured: a model that is one flat vector, and hardly any data. Nothing is trained."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from marfl_peer.learning.tasks.base import TaskData


class FlatModel(nn.Module):
    """theta: float32 [floats], zero at first."""

    def __init__(self, floats: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(floats))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.theta.sum()


class BenchTask:
    """`floats` parameters; one sample to train and one to test for each of `peers` shards."""

    name = "bench"

    def __init__(self, floats: int, peers: int) -> None:
        self._floats, self._peers = floats, peers

    def build_model(self) -> nn.Module:
        return FlatModel(self._floats)

    def load(self, data_dir: Path | None) -> TaskData:
        inputs, labels = torch.zeros(self._peers, 1), torch.zeros(self._peers, dtype=torch.int64)
        return TaskData(train_inputs=inputs, train_labels=labels, test_inputs=inputs, test_labels=labels)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.mean()

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return torch.zeros(())
