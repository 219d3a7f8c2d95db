from __future__ import annotations

import math
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from marfl_peer.averaging.vector import VectorSchema, pack, unpack_
from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.learning.batches import Position
from marfl_peer.learning.partition import Shard, empty_shard, split
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.classification import Classification
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.learning.trainer import Trainer


class Dropping(Classification):
    """A linear model behind dropout, on four points."""

    name = "dropping"

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 2))

    def load(self, data_dir: Path | None) -> TaskData:
        inputs = torch.arange(24.0).reshape(4, 6)
        labels = torch.tensor([0, 1, 0, 1])
        return TaskData(train_inputs=inputs, train_labels=labels, test_inputs=inputs, test_labels=labels)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs / 24


def shard_of(data: TaskData, *, index: int = 0) -> Shard:
    test = torch.arange(0, len(data.test_labels), 2)
    return Shard(index=index, train_indices=torch.arange(len(data.train_labels)), test_indices=test)


def dropping(*, seed: int = 1, local_steps: int = 3, device: str = "cpu") -> Trainer:
    task = Dropping()
    data = task.load(None)
    settings = Settings(seed=seed, local_steps=local_steps, batch_size=2, device=device)
    return Trainer(task, data, shard_of(data), settings)


def state(trainer: Trainer) -> Tensor:
    schema = VectorSchema.of(trainer.model, momentum=True)
    vector = torch.empty(schema.length)
    pack(schema, trainer.model, trainer.optimizer, vector)
    return vector


def test_twin_is_like_the_trainers_model_and_trains_without_it() -> None:
    trainer = dropping()
    trainer.local_update()
    before = state(trainer)
    model, optimizer = trainer.twin()
    twin = torch.empty_like(before)
    schema = VectorSchema.of(model, momentum=True)
    pack(schema, model, optimizer, twin)
    assert torch.equal(twin[: schema.theta_length], before[: schema.theta_length])
    unpack_(schema, torch.zeros_like(before), model, optimizer)
    assert torch.equal(state(trainer), before)


def test_trainer_alone_learns_digits() -> None:
    task = Digits()
    data = task.load(None)
    trainer = Trainer(task, data, shard_of(data), Settings(local_steps=10, batch_size=64))
    losses = [trainer.local_update().loss for _ in range(15)]
    result = trainer.evaluate("full")
    assert losses[-1] < 0.3 < losses[0]
    assert result.seen == len(data.test_labels)
    assert result.correct / result.seen > 0.93


@pytest.mark.parametrize("scheme", ["iid", "dirichlet:1.0"])
def test_trainers_that_average_learn_digits_from_their_shards(scheme: str) -> None:
    task = Digits()
    data = task.load(None)
    settings = Settings(partition=scheme)
    shards = split(data.train_labels, data.test_labels, shards=16, scheme=scheme, seed=1)
    trainers = [Trainer(task, data, shard, settings) for shard in shards]
    schema = VectorSchema.of(trainers[0].model, momentum=True)
    states = torch.empty(len(trainers), schema.length)
    weights = torch.tensor([float(trainer.samples) for trainer in trainers])
    for _ in range(10):
        for trainer, row in zip(trainers, states, strict=True):
            trainer.local_update()
            pack(schema, trainer.model, trainer.optimizer, row)
        for trainer in trainers:
            unpack_(schema, weights @ states / weights.sum(), trainer.model, trainer.optimizer)
    results = [trainer.evaluate("share") for trainer in trainers]
    seen = sum(result.seen for result in results)
    assert seen == len(data.test_labels)
    assert sum(result.correct for result in results) / seen > 0.93


def test_trainer_steps_are_the_papers() -> None:
    trainer = dropping(local_steps=1)
    model = trainer.model
    start = state(trainer)
    trainer.local_update()
    # A first step with m = 0: theta <- theta - eta (1 - mu) g, so theta and m move together.
    moved, size = state(trainer), sum(parameter.numel() for parameter in model.parameters())
    assert moved[size:].norm() > 0
    torch.testing.assert_close(moved[:size], start[:size] - 0.1 * moved[size:])


def test_trainer_reports_what_it_did() -> None:
    update = dropping(local_steps=3).local_update()
    assert (update.batches, update.samples) == (3, 6)
    assert 0 < update.loss < 5


def test_trainer_starts_from_one_model_whatever_the_shard() -> None:
    assert torch.equal(state(dropping()), state(dropping()))
    assert not torch.equal(state(dropping()), state(dropping(seed=2)))


def test_trainer_resumed_draws_the_same_batches_and_dropout() -> None:
    straight = dropping()
    straight.local_update()
    saved, position = state(straight), straight.position
    straight.local_update()

    resumed = dropping()
    unpack_(VectorSchema.of(resumed.model, momentum=True), saved, resumed.model, resumed.optimizer)
    resumed.restore(position)
    torch.manual_seed(99)
    resumed.local_update()
    assert torch.equal(state(resumed), state(straight))
    assert resumed.position == straight.position == Position(epoch=3, offset=0)


def test_trainer_leaves_random_numbers_alone() -> None:
    trainer = dropping()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trainer.local_update()
    assert torch.equal(torch.rand(3), expected)


def test_trainer_asked_to_stop_ends_between_batches() -> None:
    calls = count()
    trainer = dropping(local_steps=10)
    update = trainer.local_update(lambda: next(calls) == 2)
    assert (update.batches, update.samples) == (2, 4)
    assert trainer.position == Position(epoch=1, offset=0)


def test_trainer_asked_to_stop_at_once_changes_nothing() -> None:
    trainer = dropping()
    before = state(trainer)
    update = trainer.local_update(lambda: True)
    assert (update.batches, update.samples) == (0, 0)
    assert math.isnan(update.loss)
    assert torch.equal(state(trainer), before)
    assert trainer.evaluate("full", lambda: True).seen == 0


def test_trainer_with_an_empty_shard_trains_nothing_and_weighs_nothing() -> None:
    task = Dropping()
    trainer = Trainer(task, task.load(None), empty_shard(), Settings())
    before = state(trainer)
    update = trainer.local_update()
    trainer.restore(trainer.position)
    assert (trainer.samples, update.batches, update.samples) == (0, 0, 0)
    assert torch.equal(state(trainer), before)
    assert trainer.evaluate("share").seen == 0
    assert trainer.evaluate("full").seen == 4


def test_trainer_evaluates_without_dropout_and_adds_up() -> None:
    trainer = dropping()
    full, again = trainer.evaluate("full"), trainer.evaluate("full")
    share = trainer.evaluate("share")
    assert full == again
    assert (full.seen, share.seen) == (4, 2)
    assert share.correct <= full.correct <= 4
    assert full.loss_sum > share.loss_sum > 0
    data, linear = Dropping().load(None), trainer.model[1]  # type: ignore[index]  # it is a Sequential
    expected = nn.functional.cross_entropy(linear(data.test_inputs / 24), data.test_labels, reduction="sum")
    assert full.loss_sum == pytest.approx(float(expected.detach()), rel=1e-6)


def test_trainer_on_a_device_that_is_not_there_raises() -> None:
    with pytest.raises(ConfigError, match="device: 'cuda:99'"):
        dropping(device="cuda:99")
