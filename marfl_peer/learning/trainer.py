"""The local update of MAR-FL and the test of the model, on one peer's shard. Synchronous: it is called in a
worker thread, by one caller at a time. Knows nothing of other peers, iterations or the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from marfl_peer.config import Settings
from marfl_peer.learning.batches import Batches, Position
from marfl_peer.learning.devices import checked_device
from marfl_peer.learning.optimizer import MomentumSGD
from marfl_peer.learning.partition import Shard
from marfl_peer.learning.seeds import seed_of
from marfl_peer.learning.tasks.base import Task, TaskData
from marfl_peer.learning.tasks.registry import build_initial_model

EVALUATION_BATCH = 100
"""Samples tested at once: more would be little faster, and take more memory than training does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalUpdate:
    """What a local update did. `loss` is the mean over its samples, before each step; nan without any."""

    loss: float
    batches: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Sums over the `seen` test samples, so that those of several peers can be added up."""

    correct: float
    seen: int
    loss_sum: float


def never() -> bool:
    """The default for `should_stop`."""
    return False


class Trainer:
    """One peer's model, optimizer and place in its data.

    `model` and `optimizer` are open to whoever exchanges them, between the calls.
    """

    def __init__(self, task: Task, data: TaskData, shard: Shard, settings: Settings) -> None:
        """Raises: ConfigError for a device that this machine does not have, or a task that gives no model."""
        self.device = checked_device(settings.device)
        self.shard = shard
        self._task, self._data, self._settings = task, data, settings
        self.model, self.optimizer = self._built()
        self._batches = (
            Batches(shard.train_indices, batch_size=settings.batch_size, seed=settings.seed, shard=shard.index)
            if len(shard.train_indices) > 0
            else None
        )

    @property
    def samples(self) -> int:
        """Training samples owned: this peer's weight in averages."""
        return len(self.shard.train_indices)

    @property
    def position(self) -> Position:
        """Where the next batch starts: with model and optimizer all there is to save."""
        return Position() if self._batches is None else self._batches.position

    @property
    def batch_size(self) -> int:
        """Samples of every mini-batch; 0 without any."""
        return 0 if self._batches is None else self._batches.size

    def twin(self) -> tuple[nn.Module, MomentumSGD]:
        """A second model and optimizer like the own ones, with memory of their own."""
        model, optimizer = self._built()
        model.load_state_dict(self.model.state_dict())  # what is frozen is sent nowhere, and may differ if built anew
        return model, optimizer

    def restore(self, position: Position) -> None:
        """Goes on at a saved position. Raises: ValueError if the shard has none such."""
        if self._batches is not None:
            self._batches.restore(position)

    def local_update(self, should_stop: Callable[[], bool] = never) -> LocalUpdate:
        """Trains on the next `local_steps` mini-batches; ends early if `should_stop` says so before one."""
        if self._batches is None:
            return LocalUpdate(loss=float("nan"), batches=0, samples=0)
        # Summed where the model is: reading each loss would make the device wait for this thread.
        loss_sum, batches, samples = torch.zeros((), device=self.device), 0, 0
        self.model.train()
        with self.own_randomness("update", self._batches.position):
            while batches < self._settings.local_steps and not should_stop():
                indices = self._batches.next_batch()
                loss_sum += self.step(indices) * len(indices)
                batches += 1
                samples += len(indices)
        return LocalUpdate(
            loss=float(loss_sum) / samples if samples else float("nan"), batches=batches, samples=samples
        )

    def draw(self, count: int) -> list[Tensor]:
        """The indices of the next `count` mini-batches, which a local update would have trained on next."""
        return [] if self._batches is None else [self._batches.next_batch() for _ in range(count)]

    def inputs(self, indices: Tensor) -> Tensor:
        """A mini-batch as the model takes it."""
        return self._task.prepare(self._data.train_inputs[indices].to(self.device))

    def step(self, indices: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
        """One step of the optimizer on a mini-batch; returns the loss before it.

        `loss_of` makes the loss of (outputs, the task's loss), which is the loss by itself without it.
        """
        outputs = self.model(self.inputs(indices))
        labels = self._data.train_labels[indices].to(self.device)
        self.optimizer.zero_grad()
        loss = self._task.loss(outputs, labels)
        if loss_of is not None:
            loss = loss_of(outputs, loss)
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.detach()

    def evaluate(
        self,
        scope: Literal["share", "full"],
        should_stop: Callable[[], bool] = never,
        *,
        model: nn.Module | None = None,
    ) -> Evaluation:
        """Tests `model`, by default the own one, on the shard's test samples or on all; `seen` says how far it came if
        stopped."""
        model = self.model if model is None else model
        count = len(self._data.test_labels)
        indices = self.shard.test_indices if scope == "share" else torch.arange(count)
        correct, seen, loss_sum = 0.0, 0, 0.0
        model.eval()
        with torch.inference_mode():
            for batch in torch.split(indices, EVALUATION_BATCH) if len(indices) > 0 else ():
                if should_stop():
                    break
                inputs = self._task.prepare(self._data.test_inputs[batch].to(self.device))
                labels = self._data.test_labels[batch].to(self.device)
                outputs = model(inputs)
                correct += float(self._task.correct(outputs, labels))
                loss_sum += float(self._task.loss(outputs, labels)) * len(batch)
                seen += len(batch)
        return Evaluation(correct=correct, seen=seen, loss_sum=loss_sum)

    def _built(self) -> tuple[nn.Module, MomentumSGD]:
        model = build_initial_model(self._task, self._settings.seed).to(self.device)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return model, MomentumSGD(trained, lr=self._settings.lr, momentum=self._settings.momentum)

    @contextmanager
    def own_randomness(self, purpose: str, position: Position) -> Iterator[None]:
        """Dropout and the like follow from the place in the data, so that a resumed peer draws the same."""
        seed = seed_of(purpose, self._settings.seed, self.shard.index, position.epoch, position.offset)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            if self.device.type == "cpu":
                torch.default_generator.manual_seed(seed)
            else:  # every kind of device that there could be: that takes as long as a small update
                torch.manual_seed(seed)
            yield
