"""The model at work, in one worker thread, while the event loop keeps serving: update, pack, adopt, test, save."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from marfl_peer.averaging.sketch import sketch
from marfl_peer.averaging.vector import VectorSchema, integer_buffers, pack, set_integer_buffers_, unpack_
from marfl_peer.learning.memory import memory_releaser
from marfl_peer.learning.trainer import Evaluation, LocalUpdate, Trainer
from marfl_peer.peer.store import save_state

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelAtHand:
    """The model and optimizer that are exchanged: the trainer's, or those of the user's own loop."""

    model: nn.Module
    optimizer: Optimizer | None


class Learner:
    """`schema` is that of every model that comes here. Calls run one after the other."""

    def __init__(self, schema: VectorSchema, *, seed: int) -> None:
        self.schema = schema
        self.trainer: Trainer | None = None
        self._seed = seed
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="learner")
        self._stop = False
        self._release_memory = memory_releaser()

    def close(self) -> None:
        """Ends a running update after its mini-batch."""
        self._stop = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def stop(self) -> None:
        self._stop = True

    @property
    def samples(self) -> int:
        return 0 if self.trainer is None else self.trainer.samples

    def own(self) -> ModelAtHand:
        """The trainer's model."""
        assert self.trainer is not None
        return ModelAtHand(self.trainer.model, self.trainer.optimizer)

    async def in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def local_update(self) -> LocalUpdate:
        """B mini-batches of the paper's momentum SGD."""
        trainer = self.trainer
        assert trainer is not None
        return await self._work_hard(lambda: trainer.local_update(lambda: self._stop))

    async def _work_hard(self, work: Callable[[], T]) -> T:
        """Work that needs much memory for a while."""

        def and_release() -> T:
            try:
                return work()
            finally:
                self._release_memory()

        return await self.in_thread(and_release)

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

        return await self.in_thread(work)

    async def evaluate(self, hand: ModelAtHand, scope: Literal["share", "full"]) -> Evaluation:
        trainer = self.trainer
        assert trainer is not None
        return await self._work_hard(lambda: trainer.evaluate(scope, lambda: self._stop, model=hand.model))

    async def save(self, hand: ModelAtHand, state_dir: Path, facts: dict[str, str]) -> int:
        """Writes the model and its momentum to disk; returns the bytes written."""

        def work() -> int:
            momentum: dict[str, Tensor] = {}
            if hand.optimizer is not None:
                for name, parameter in hand.model.named_parameters():
                    buffer = hand.optimizer.state.get(parameter, {}).get("momentum_buffer")
                    if isinstance(buffer, torch.Tensor):
                        momentum[name] = buffer
            return save_state(state_dir, model=hand.model.state_dict(), momentum=momentum, facts=facts)

        return await self.in_thread(work)


def finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
