"""The model in its thread: packed, replaced, tested and saved, while the loop goes on."""

from __future__ import annotations

import asyncio
import threading

import pytest
import safetensors.torch
import torch

from marfl_peer.averaging.sketch import sketch
from marfl_peer.config import Settings
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.peer.learner import Learner, finite_or_none
from marfl_peer.peer.outfit import outfit_of, trainer_for

SETTINGS = Settings(shards=4, local_steps=2)


@pytest.fixture(scope="module")
def data() -> TaskData:
    return Digits().load(None)


def learner_of(data: TaskData, shard: int | None = 0) -> Learner:
    learner = Learner(outfit_of(Digits(), SETTINGS).schema, seed=1)
    learner.trainer = trainer_for(Digits(), SETTINGS, shard=shard, data=data)
    return learner


def test_update_is_packed_and_another_model_can_take_it(on_loop, data: TaskData) -> None:
    async def main() -> None:
        one, other = learner_of(data), learner_of(data, 1)
        update = await one.local_update()
        assert (update.batches, update.samples) == (2, 64)
        vector = torch.empty(one.schema.length)
        maxima = await one.pack(one.own(), vector)
        told = await other.adopt(other.own(), vector, maxima)
        copy = torch.empty(one.schema.length)
        await other.pack(other.own(), copy)
        assert torch.equal(copy, vector)
        assert told == sketch(vector[: one.schema.theta_length], seed=1)
        one.close()
        other.close()

    on_loop(main())


def test_work_is_done_in_one_thread_that_is_not_the_loops(on_loop, data: TaskData) -> None:
    async def main() -> None:
        learner = learner_of(data)
        threads = await asyncio.gather(*(learner.in_thread(threading.get_ident) for _ in range(5)))
        assert len(set(threads)) == 1
        assert threads[0] != threading.get_ident()
        learner.close()

    on_loop(main())


def test_stop_ends_an_update_before_its_next_batch(on_loop, data: TaskData) -> None:
    async def main() -> None:
        learner = learner_of(data)
        learner.stop()
        assert (await learner.local_update()).batches == 0
        learner.close()

    on_loop(main())


def test_peer_without_a_shard_trains_nothing_and_has_no_samples(on_loop, data: TaskData) -> None:
    async def main() -> None:
        learner = learner_of(data, None)
        assert learner.samples == 0
        assert (await learner.local_update()).batches == 0
        assert (await learner.evaluate(learner.own(), "share")).seen == 0
        assert (await learner.evaluate(learner.own(), "full")).seen == len(data.test_labels)
        learner.close()

    on_loop(main())


def test_snapshot_has_model_momentum_and_place_in_the_data(on_loop, data: TaskData) -> None:
    async def main() -> None:
        learner = learner_of(data)
        await learner.local_update()
        snapshot = await learner.snapshot(learner.own())
        tensors = safetensors.torch.load(snapshot.tensors)
        model = {name: tensor.clone() for name, tensor in learner.own().model.state_dict().items()}
        assert snapshot.shard == 0
        assert snapshot.position == learner.own_trainer().position
        assert snapshot.position.offset > 0
        await learner.local_update()
        assert not torch.equal(learner.own().model.state_dict()["dense.bias"], model["dense.bias"])
        assert {name for name in tensors if name.startswith("model/")} == {f"model/{name}" for name in model}
        assert torch.equal(tensors["model/dense.bias"], model["dense.bias"])
        assert bool(tensors["momentum/dense.bias"].any())
        learner.close()

    on_loop(main())


@pytest.mark.parametrize(
    ("value", "told"), [(1.5, 1.5), (float("nan"), None), (float("inf"), None), (-float("inf"), None)]
)
def test_finite_or_none(value: float, told: float | None) -> None:
    assert finite_or_none(value) == told
