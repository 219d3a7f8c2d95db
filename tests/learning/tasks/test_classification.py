from __future__ import annotations

import math

import torch

from marfl_peer.learning.tasks.classification import Classification


def test_classification_counts_right_answers() -> None:
    outputs = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    assert int(Classification().correct(outputs, torch.tensor([0, 1, 1]))) == 2


def test_classification_loss_is_the_mean_cross_entropy() -> None:
    outputs = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])
    loss = Classification().loss(outputs, torch.tensor([0, 1]))
    torch.testing.assert_close(loss, torch.tensor((math.log(2.0) + math.log(4.0 / 3.0)) / 2))
