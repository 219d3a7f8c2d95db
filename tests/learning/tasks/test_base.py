from __future__ import annotations

import pytest
import torch
from torch import Tensor

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.base import TASK_METHODS, Task, TaskData


def data(inputs: Tensor, labels: Tensor) -> TaskData:
    good_inputs, good_labels = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    TaskData(train_inputs=good_inputs, train_labels=good_labels, test_inputs=inputs, test_labels=labels)
    return TaskData(train_inputs=inputs, train_labels=labels, test_inputs=good_inputs, test_labels=good_labels)


def test_task_methods_are_those_of_the_protocol() -> None:
    declared = [name for name in vars(Task) if not name.startswith("_")]
    assert tuple(declared) == TASK_METHODS
    assert list(Task.__annotations__) == ["name"]


def test_task_data_keeps_raw_inputs_as_they_are() -> None:
    raw = torch.zeros(4, 8, 8, dtype=torch.uint8)
    assert data(raw, torch.zeros(4, dtype=torch.int64)).train_inputs is raw


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (torch.zeros(4, 3), torch.zeros(5, dtype=torch.int64), "one sample a label"),
        (torch.tensor(1.0), torch.zeros(1, dtype=torch.int64), "one sample a label"),
        (torch.zeros(4, 3), torch.zeros(4), "must be int64"),
        (torch.zeros(4, 3), torch.zeros(4, 2, dtype=torch.int64), "must be int64"),
    ],
)
def test_task_data_that_does_not_fit_together_raises(inputs: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        data(inputs, labels)
