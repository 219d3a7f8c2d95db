"""The update beside an exchange, with vectors in place of the exchange: where it starts, and what is brought then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.vector import integer_buffers, pack, unpack_
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.trainer import Trainer
from marfl_peer.peer.learner import Aside, Learner
from marfl_peer.peer.outfit import outfit_of, trainer_for
from marfl_peer.peer.overlap import Overlap
from marfl_peer.peer.states import State


class Statistics:
    """A linear model on normed points: its buffers move with every mini-batch."""

    name = "statistics"

    def build_model(self) -> nn.Module:
        model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
        model[1].bias.requires_grad_(False)
        return model

    def load(self, data_dir: Path | None) -> TaskData:
        inputs = torch.randn(12, 2, generator=torch.Generator().manual_seed(1))
        labels = torch.arange(12) % 2
        return TaskData(train_inputs=inputs, train_labels=labels, test_inputs=inputs, test_labels=labels)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, labels)

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.argmax(1) == labels).sum()


class Scene:
    """A learner with an overlap, and a second trainer that does alone what the first one is to do."""

    def __init__(self, *, vector: str = "theta+momentum") -> None:
        settings = Settings(shards=1, local_steps=3, batch_size=4).adopt({"vector": vector})
        task = Statistics()
        self.learner = Learner(outfit_of(task, settings).schema, seed=0)
        self.trainer, self.shadow = (trainer_for(task, settings, shard=0, data=task.load(None)) for _ in range(2))
        self.learner.trainer = self.trainer
        self.schema = self.learner.schema
        self.pool = BufferPool(self.schema.length)
        self.overlap = Overlap(self.learner, pool=self.pool, clock=Clock())

    def vector(self, trainer: Trainer | None = None) -> Tensor:
        values = torch.empty(self.schema.length)
        one = self.trainer if trainer is None else trainer
        pack(self.schema, one.model, one.optimizer, values)
        return values

    def part(self, vector: Tensor, name: str) -> Tensor:
        """Of a parameter, as it is named in a file."""
        kind, _, parameter = name.partition("/")
        part = "theta" if kind == "model" else kind
        [entry] = [entry for entry in self.schema.entries if (entry.part, entry.name) == (part, parameter)]
        return vector[entry.offset : entry.offset + entry.size]

    def result(self, seed: int = 5) -> State:
        """What an exchange may give; counts of mini-batches are of a peer that saw more of them than this one."""
        values = torch.rand(self.schema.length, generator=torch.Generator().manual_seed(seed))
        return State(1, values, (100,))


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.learner.close()


def test_next_update_goes_on_from_the_snapshot_and_is_moved_by_what_was_agreed(on_loop, scene: Scene) -> None:
    async def main() -> None:
        for trainer in (scene.trainer, scene.shadow):
            trainer.local_update()
        snapshot, agreed = scene.vector(), scene.result()
        brought = snapshot.clone()
        await scene.overlap.go_on(brought, is_own=True)
        brought.zero_()  # what an exchange does with it is its own business
        update, seconds = await scene.overlap.update()
        alone = scene.shadow.local_update()
        assert (update, seconds > 0) == (alone, True)
        trained = scene.vector()
        assert torch.equal(trained, scene.vector(scene.shadow))
        await scene.overlap.correct(agreed)
        assert torch.equal(scene.vector(), trained + (agreed.vector - snapshot))
        assert not scene.overlap.is_running

    on_loop(main())


def test_largest_integers_count(on_loop, scene: Scene) -> None:
    async def main() -> None:
        counts = []
        for count in (100, 2):
            await scene.overlap.go_on(scene.vector(), is_own=True)
            await scene.overlap.update()
            await scene.overlap.correct(State(1, scene.vector(), (count,)))
            counts.append(integer_buffers(scene.schema, scene.trainer.model))
        assert counts == [(100,), (103,)]

    on_loop(main())


def test_what_does_not_count_is_replaced_before_the_next_update(on_loop, scene: Scene) -> None:
    """As for a peer whose update is not averaged: it trains from the agreed state that it brings instead."""

    async def main() -> None:
        scene.trainer.local_update()
        brought = scene.result().vector
        position = scene.trainer.position
        await scene.overlap.go_on(brought, is_own=False)
        await scene.overlap.update()
        scene.shadow.restore(position)
        unpack_(scene.schema, brought, scene.shadow.model, scene.shadow.optimizer)
        scene.shadow.local_update()
        assert torch.equal(scene.vector(), scene.vector(scene.shadow))

    on_loop(main())


def test_result_of_the_exchange_is_held_and_saved_beside_the_model_that_trains(on_loop, scene: Scene) -> None:
    async def main() -> None:
        learner, own = scene.learner, scene.learner.own()
        assert scene.overlap.holder(own) is own
        with torch.no_grad():
            scene.trainer.model[1].bias.fill_(7.0)  # frozen: sent nowhere, so it may be each peer's own
        scene.trainer.local_update()
        place = scene.trainer.position
        await scene.overlap.go_on(scene.vector(), is_own=True)
        holder, agreed = scene.overlap.holder(own), scene.result()
        assert isinstance(holder, Aside)
        await learner.adopt(holder, agreed.vector, agreed.maxima)
        saved = await learner.snapshot(holder)
        await scene.overlap.update()
        held = torch.empty(scene.schema.length)
        pack(scene.schema, holder.model, holder.optimizer, held)
        assert torch.equal(held, agreed.vector)
        assert integer_buffers(scene.schema, holder.model) == agreed.maxima
        assert saved.position == place != scene.trainer.position
        tensors = safetensors.torch.load(saved.tensors)
        assert tensors["model/1.bias"].tolist() == [7.0, 7.0]
        for name in ("model/1.weight", "momentum/1.weight"):
            assert torch.equal(tensors[name].flatten(), scene.part(agreed.vector, name))
        assert (await learner.evaluate(holder, "full")).seen == 12

    on_loop(main())


def test_momentum_that_stays_at_home_is_saved_as_it_was_when_the_result_was_brought(on_loop) -> None:
    async def main() -> None:
        scene = Scene(vector="theta")
        scene.trainer.local_update()
        before = [momentum.clone() for momentum in scene.trainer.optimizer.momenta()]
        agreed = scene.result()
        await scene.overlap.go_on(scene.vector(), is_own=True)
        holder = scene.overlap.holder(scene.learner.own())
        await scene.learner.adopt(holder, agreed.vector, agreed.maxima)
        await scene.overlap.update()
        trained = [momentum.clone() for momentum in scene.trainer.optimizer.momenta()]
        saved = safetensors.torch.load((await scene.learner.snapshot(holder)).tensors)
        await scene.overlap.correct(agreed)
        assert torch.equal(saved["momentum/1.weight"], before[2])
        assert torch.equal(trained[2], scene.trainer.optimizer.momenta()[2])
        assert not torch.equal(trained[2], before[2])
        scene.learner.close()

    on_loop(main())


def test_update_that_is_given_up_ends_and_leaves_the_model_to_the_next(on_loop, scene: Scene) -> None:
    async def main() -> None:
        agreed = scene.result()
        await scene.overlap.go_on(scene.vector(), is_own=True)
        scene.overlap.give_up()
        assert not scene.overlap.is_running
        await scene.learner.adopt(scene.learner.own(), agreed.vector, agreed.maxima)
        assert torch.equal(scene.vector(), agreed.vector)
        scene.overlap.give_up()  # there is none any more
        await scene.overlap.go_on(scene.vector(), is_own=True)
        assert (await scene.overlap.update())[0].batches == 3

    on_loop(main())


def test_given_up_update_does_not_go_through_all_its_batches(on_loop, scene: Scene) -> None:
    async def main() -> None:
        wanted = [True]
        update = scene.learner.begin_update(lambda: not wanted[0])
        assert (await update).batches == 3
        wanted[0] = False
        assert (await scene.learner.begin_update(lambda: not wanted[0])).batches == 0

    on_loop(main())


def test_failure_of_an_update_is_raised_where_it_is_awaited(on_loop, scene: Scene) -> None:
    async def main() -> None:
        def fail(*_: object) -> Tensor:
            raise ArithmeticError("no loss")

        scene.trainer._task.loss = fail  # type: ignore[method-assign]
        await scene.overlap.go_on(scene.vector(), is_own=True)
        with pytest.raises(ArithmeticError, match="no loss"):
            await scene.overlap.update()
        scene.overlap.give_up()
        await scene.overlap.go_on(scene.vector(), is_own=True)
        scene.overlap.give_up()  # nobody asks any more: the loop has nothing to complain of
        await scene.learner.in_thread(lambda: None)
        await asyncio.sleep(0)

    on_loop(main())
