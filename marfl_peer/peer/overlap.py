"""The local update that runs beside an exchange. It goes on from the snapshot that is exchanged; what comes back of the
exchange is kept in a second model meanwhile, and moves the first one when the update is over.

Knows vectors and threads; not what an exchange is, nor who takes part in it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import torch
from torch import Tensor

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.delayed import correct_
from marfl_peer.averaging.vector import integer_buffers, pack, set_integer_buffers_, unpack_
from marfl_peer.clock import Clock
from marfl_peer.learning.optimizer import MomentumSGD
from marfl_peer.learning.trainer import LocalUpdate
from marfl_peer.peer.learner import Aside, Learner, ModelAtHand
from marfl_peer.peer.states import State


@dataclass(slots=True, eq=False)
class _Beside:
    """An update on its way. `aside` takes the result of the exchange."""

    aside: Aside
    began: float
    update: asyncio.Future[LocalUpdate] = field(init=False)
    ended: float | None = None
    is_unwanted: bool = False


class Overlap:
    """One update at a time. `pool` lends vectors; one more, the snapshot, is this one's own."""

    def __init__(self, learner: Learner, *, pool: BufferPool, clock: Clock) -> None:
        self._learner, self._pool, self._clock = learner, pool, clock
        self._snapshot: Tensor | None = None
        self._twin: ModelAtHand | None = None
        self._beside: _Beside | None = None

    @property
    def is_running(self) -> bool:
        """Whether an update was begun that is neither brought nor given up."""
        return self._beside is not None

    def holder(self, hand: ModelAtHand) -> ModelAtHand:
        """Which model holds the agreed state: `hand`, unless an update runs there."""
        return hand if self._beside is None else self._beside.aside

    async def go_on(self, vector: Tensor, *, is_own: bool) -> None:
        """Begins the next update from `vector` [n], which is copied: it goes into an exchange now.

        `is_own`: whether it is what the trained model holds; else that takes it first.
        """
        assert self._beside is None
        aside = await self._learner.in_thread(lambda: self._part(vector, is_own=is_own))
        self._beside = beside = _Beside(aside, self._clock.now())
        beside.update = self._learner.begin_update(lambda: beside.is_unwanted)

        def over(update: asyncio.Future[LocalUpdate]) -> None:
            beside.ended = self._clock.now()
            if not update.cancelled():
                update.exception()  # it is raised where the update is awaited, if it still is

        beside.update.add_done_callback(over)

    async def update(self) -> tuple[LocalUpdate, float]:
        """The update, when it is over, and the seconds that it took."""
        beside = self._beside
        assert beside is not None
        update = await beside.update
        ended = (
            self._clock.now() if beside.ended is None else beside.ended
        )  # it may have ended in this turn of the loop
        return update, ended - beside.began

    async def correct(self, agreed: State) -> None:
        """The update and the exchange are over: the trained model goes on from what was `agreed`."""
        assert self._beside is not None
        vector = self._pool.take()
        await self._learner.in_thread(lambda: self._correct(vector, agreed))
        self._beside = None

    def give_up(self) -> None:
        """The update is void: the agreed state is to take its model's place. It ends after its mini-batch."""
        if self._beside is not None:
            self._beside.is_unwanted = True
            self._beside = None

    # in the learner's thread

    def _part(self, vector: Tensor, *, is_own: bool) -> Aside:
        learner, own = self._learner, self._learner.own()
        if not is_own:
            unpack_(learner.schema, vector, own.model, own.optimizer)
        if self._snapshot is None:
            self._snapshot = torch.empty_like(vector)
            self._twin = ModelAtHand(*learner.own_trainer().twin())
        self._snapshot.copy_(vector)
        assert self._twin is not None
        if not learner.schema.has_momentum:
            _copy_momentum_(own, self._twin)  # it stays at home: what is saved with the result is that of now
        return Aside(self._twin.model, self._twin.optimizer, learner.own_trainer().position)

    def _correct(self, vector: Tensor, agreed: State) -> None:
        schema, own = self._learner.schema, self._learner.own()
        assert self._snapshot is not None
        pack(schema, own.model, own.optimizer, vector)
        correct_(schema, vector, snapshot=self._snapshot, agreed=agreed.vector)
        unpack_(schema, vector, own.model, own.optimizer)
        largest = zip(integer_buffers(schema, own.model), agreed.maxima, strict=True)
        set_integer_buffers_(schema, own.model, tuple(max(pair) for pair in largest))


@torch.no_grad()
def _copy_momentum_(source: ModelAtHand, target: ModelAtHand) -> None:
    """Of two models of one task, with the paper's optimizers."""
    assert isinstance(source.optimizer, MomentumSGD)
    assert isinstance(target.optimizer, MomentumSGD)
    for theirs, own in zip(source.optimizer.momenta(), target.optimizer.momenta(), strict=True):
        own.copy_(theirs)
