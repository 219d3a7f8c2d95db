"""The simulated peers' task: a proper task that can be learnt."""

from __future__ import annotations

import torch

from marfl_peer.config import Settings
from marfl_peer.lab.simulator.blobs import TEST, TRAIN, Blobs, blobs
from marfl_peer.learning.partition import split
from marfl_peer.learning.tasks.base import TASK_METHODS
from marfl_peer.learning.trainer import Trainer


def test_blobs_are_the_same_for_the_same_seed() -> None:
    one, same, other = blobs(1), blobs(1), blobs(2)
    assert torch.equal(one.train_inputs, same.train_inputs)
    assert not torch.equal(one.train_inputs, other.train_inputs)
    assert (len(one.train_labels), len(one.test_labels)) == (TRAIN, TEST)


def test_blobs_can_be_learnt() -> None:
    task = Blobs()
    data = task.load(None)
    assert all(callable(getattr(task, name)) for name in TASK_METHODS)
    settings = Settings(local_steps=20, batch_size=16, shards=1)
    shards = split(data.train_labels, data.test_labels, shards=1, scheme="iid", seed=0)
    trainer = Trainer(task, data, shards[0], settings)
    before = trainer.evaluate("full")
    trainer.local_update()
    after = trainer.evaluate("full")
    assert after.loss_sum < before.loss_sum / 2


def test_every_shard_of_a_large_swarm_has_a_sample() -> None:
    assert len(Blobs(2048).load(None).train_labels) == 2048
    assert len(Blobs(8).load(None).train_labels) == TRAIN
