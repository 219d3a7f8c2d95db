"""The model at work, in one worker thread, while the event loop keeps serving: update, pack, adopt, test, save.

A model beside it, which is not trained, takes and is saved in a second thread: that does not wait for an update.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from marfl_peer.averaging.sketch import sketch
from marfl_peer.averaging.vector import (
    MOMENTUM_KEY,
    VectorSchema,
    agreed_alone,
    integer_buffers,
    pack,
    set_integer_buffers_,
    unpack_,
)
from marfl_peer.learning.batches import Position
from marfl_peer.learning.memory import Heap
from marfl_peer.learning.trainer import Evaluation, LocalUpdate, Trainer, never
from marfl_peer.peer.store import tensor_bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelAtHand:
    """The model and optimizer that are exchanged: the trainer's, or those of the user's own loop."""

    model: nn.Module
    optimizer: Optimizer | None


@dataclass(frozen=True, slots=True)
class Aside(ModelAtHand):
    """A model beside the one that trains. `position`: from where in the data who goes on from it trains."""

    position: Position


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What a learner has learned: `tensors` is the content of a file; `position` is that in the data of `shard`."""

    tensors: bytes
    shard: int | None
    position: Position


class Learner:
    """`schema` is that of every model that comes here. Calls run one after the other, those for an `Aside` apart from
    the others; to test it is work of the first thread, like all that needs data."""

    def __init__(self, schema: VectorSchema, *, seed: int, heap: Heap | None = None) -> None:
        self.schema = schema
        self.trainer: Trainer | None = None
        self._seed = seed
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="learner")
        self._aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside")
        self._stop = False
        self._heap = heap or Heap()

    def close(self) -> None:
        """Ends a running update after its mini-batch."""
        self._stop = True
        for thread in (self._thread, self._aside):
            thread.shutdown(wait=True, cancel_futures=True)

    def stop(self) -> None:
        self._stop = True

    @property
    def is_stopping(self) -> bool:
        """Whether work is to end after its mini-batch."""
        return self._stop

    @property
    def samples(self) -> int:
        return 0 if self.trainer is None else self.trainer.samples

    def own_trainer(self) -> Trainer:
        assert self.trainer is not None
        return self.trainer

    def own(self) -> ModelAtHand:
        """The trainer's model."""
        trainer = self.own_trainer()
        return ModelAtHand(trainer.model, trainer.optimizer)

    async def in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def local_update(self) -> LocalUpdate:
        """B mini-batches of the paper's momentum SGD."""
        return await self.begin_update(never)

    def begin_update(self, is_unwanted: Callable[[], bool]) -> asyncio.Future[LocalUpdate]:
        """The same, begun now, behind what was asked for before; ends early once nobody wants it."""
        trainer = self.own_trainer()
        return self.work_hard(lambda: trainer.local_update(lambda: self._stop or is_unwanted()))

    def work_hard(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Work that needs much memory for a while, in the thread of the model that trains."""

        def hard_work() -> T:
            with self._heap.hard_work():
                return work()

        return asyncio.get_running_loop().run_in_executor(self._thread, hard_work)

    async def _in_thread_of(self, hand: ModelAtHand, work: Callable[[], T]) -> T:
        thread = self._aside if isinstance(hand, Aside) else self._thread
        return await asyncio.get_running_loop().run_in_executor(thread, work)

    async def pack(self, hand: ModelAtHand, out: Tensor) -> tuple[int, ...]:
        """Writes (theta, m, buffers) to `out` [n]; returns the integer buffers."""

        def work() -> tuple[int, ...]:
            pack(self.schema, hand.model, hand.optimizer, out)
            return integer_buffers(self.schema, hand.model)

        return await self.in_thread(work)

    async def adopt(self, hand: ModelAtHand, vector: Tensor, maxima: tuple[int, ...]) -> tuple[float, ...]:
        """Makes the averaged vector the model's own; returns the sketch of its theta."""

        def work() -> tuple[float, ...]:
            unpack_(self.schema, vector, hand.model, hand.optimizer)
            set_integer_buffers_(self.schema, hand.model, maxima)
            return sketch(vector[: self.schema.theta_length], seed=self._seed)

        return await self._in_thread_of(hand, work)

    async def evaluate(self, hand: ModelAtHand, scope: Literal["share", "full"]) -> Evaluation:
        trainer = self.trainer
        assert trainer is not None
        return await self.work_hard(lambda: trainer.evaluate(scope, lambda: self._stop, model=hand.model))

    async def snapshot(self, hand: ModelAtHand, agreed: Tensor | None = None) -> Snapshot:
        """A copy of the model, its momentum and the place in the data, as they are now, and of what only the vector
        [n] that was `agreed` on has."""

        def work() -> Snapshot:
            momentum: dict[str, Tensor] = {}
            if hand.optimizer is not None:
                for name, parameter in hand.model.named_parameters():
                    buffer = hand.optimizer.state.get(parameter, {}).get(MOMENTUM_KEY)
                    if isinstance(buffer, Tensor):
                        momentum[name] = buffer
            alone = {} if agreed is None else agreed_alone(self.schema, agreed)
            tensors = tensor_bytes(hand.model.state_dict(), momentum, alone)
            trainer = self.trainer
            if trainer is None:
                return Snapshot(tensors, None, Position())
            position = hand.position if isinstance(hand, Aside) else trainer.position
            return Snapshot(tensors, trainer.shard.index, position)

        return await self._in_thread_of(hand, work)


def finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
