"""The life between entering and leaving: iteration after iteration of local update and aggregation.

What happens inside an aggregation is told in `iterations`; what is tested and added up, in `evaluation`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.facts import (
    IterationFinished,
    LocalUpdateFinished,
    PeerStopped,
    Sink,
    StateSaved,
    TargetReached,
)
from marfl_peer.ids import PeerId
from marfl_peer.learning.trainer import LocalUpdate
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.evaluation import Evaluator, Sums
from marfl_peer.peer.iterations import Averaged, Iterations
from marfl_peer.peer.learner import Learner, ModelAtHand, finite_or_none
from marfl_peer.peer.roster import Roster
from marfl_peer.protocol.seats import Holding


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an aggregation came to. `took_part` is False for a peer that was behind: its model is the swarm's now, what
    it had learned since the last agreed state is not in it."""

    iteration: int
    took_part: bool
    peers: int
    weight: int
    test_accuracy: float | None
    train_loss: float | None


class Training:
    """`counters()` gives (bytes sent by kind, DHT look-ups made for iterations), both since the start."""

    def __init__(
        self,
        *,
        settings: Settings,
        learner: Learner,
        iterations: Iterations,
        aggregator: Aggregator,
        roster: Roster,
        pool: BufferPool,
        clock: Clock,
        tell: Sink,
        counters: Callable[[], tuple[dict[str, int], int]],
    ) -> None:
        self._settings, self._learner, self._iterations = settings, learner, iterations
        self._aggregator, self._pool = aggregator, pool
        self._clock, self._tell, self._counters = clock, tell, counters
        self._stopping = asyncio.Event()
        self._started_at = 0.0
        self._reached: TargetReached | None = None
        self._evaluator = Evaluator(settings=settings, learner=learner, roster=roster, tell=tell)
        self._bytes_before: dict[str, int] = {}
        self._lookups_before = 0

    def stop(self) -> None:
        """Ends the run at once: what the current iteration did is given up."""
        self._stopping.set()
        self._learner.stop()

    def is_over(self) -> bool:
        return self._iterations.iteration >= self._settings.iterations or self._reached is not None

    async def start(self, contact: PeerId | None) -> None:
        """Takes the agreed state from `contact`, unless there is none to take, and opens the first iteration."""
        if contact is not None:
            await self._catch_up(contact)
        await self._open()

    async def run(self) -> PeerStopped:
        """The iterations until the run is over; returns how it ended."""
        work = asyncio.create_task(self._run())
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)
        iteration = int(self._iterations.iteration)
        if work.cancelled():
            return PeerStopped(reason="left", iteration=iteration, detail="asked to leave")
        work.result()
        if self._reached is not None:
            detail = f"test accuracy {self._reached.test_accuracy:.4f}"
            return PeerStopped(reason="target_reached", iteration=iteration, detail=detail)
        return PeerStopped(reason="finished", iteration=iteration, detail="")

    async def _run(self) -> None:
        while not self.is_over():
            await self.iterate()
        if self._iterations.iteration > 0:
            await self._evaluator.evaluate(self._learner.own(), self._iterations.iteration, may_differ=False)
        await self.serve_late_ones()

    async def iterate(self) -> None:
        """Local update, then aggregation: theta and m become the weighted mean of the swarm's."""
        iteration = int(self._iterations.iteration) + 1
        began = self._clock.now()
        update = await self._learner.local_update()
        update_s = self._clock.now() - began
        loss = finite_or_none(update.loss)
        self._tell(
            LocalUpdateFinished(
                iteration=iteration, samples=update.samples, batches=update.batches, loss=loss, seconds=update_s
            )
        )
        weight = self._learner.samples if update.batches else 0
        await self._aggregate(self._learner.own(), update, weight=weight, update_s=update_s)

    async def aggregate(self, hand: ModelAtHand, *, samples: int) -> Outcome:
        """The aggregation of a training loop of one's own."""
        return await self._aggregate(hand, None, weight=samples, update_s=0.0)

    async def _aggregate(
        self, hand: ModelAtHand, update: LocalUpdate | None, *, weight: int, update_s: float
    ) -> Outcome:
        vector = self._pool.take()
        maxima = await self._learner.pack(hand, vector)
        holding = Holding(weight=weight, sums=self._evaluator.sums(update).row(), maxima=maxima)
        averaged = await self._iterations.average(vector, holding, update_s=update_s)
        if averaged is None:
            return await self._take_state(hand)
        sketch = await self._learner.adopt(hand, averaged.vector, averaged.holding.maxima)
        self._iterations.agree(averaged)
        return await self._finish(hand, averaged, sketch)

    # between iterations

    async def _open(self) -> None:
        """Opens the next iteration's rounds before training, so that others find this peer there."""
        self._iterations.leap()
        while not self.is_over() and not self._iterations.is_current():
            await self._catch_up(None)
            self._iterations.leap()
        self._started_at = self._clock.now()
        if not self.is_over():
            self._iterations.open()

    async def _catch_up(self, contact: PeerId | None, hand: ModelAtHand | None = None) -> None:
        state = await self._iterations.catch_up(contact)
        if state is None:
            self._iterations.skip()
            return
        await self._learner.adopt(hand or self._learner.own(), state.vector, state.maxima)
        self._iterations.took(state)
        self._evaluator.forget()

    async def _take_state(self, hand: ModelAtHand) -> Outcome:
        """The swarm went on without this peer: its state replaces what was learned."""
        await self._catch_up(None, hand)
        await self._open()
        return Outcome(
            iteration=int(self._iterations.iteration),
            took_part=False,
            peers=0,
            weight=0,
            test_accuracy=None,
            train_loss=None,
        )

    async def _finish(self, hand: ModelAtHand, averaged: Averaged, sketch: tuple[float, ...]) -> Outcome:
        iteration = int(self._iterations.iteration)
        seconds = self._clock.now() - self._started_at
        totals = Sums.of(averaged.holding.sums)
        accuracy, train_loss = totals.test_accuracy, totals.train_loss
        sent, lookups = self._since_last()
        self._tell(
            IterationFinished(
                iteration=iteration,
                seconds=seconds,
                weight=averaged.holding.weight,
                projection=sketch,
                train_loss=train_loss,
                evaluated_iteration=iteration - 1 if accuracy is not None else None,
                test_accuracy=accuracy,
                test_loss=None,
                groups_complete=averaged.groups_complete,
                groups_partial=averaged.groups_partial,
                peers=averaged.peers,
                bytes_sent=sent,
                dht_lookups=lookups,
            )
        )
        self._note_target(iteration, accuracy)
        await self._open()
        await self._evaluate_and_save(hand, averaged)
        return Outcome(
            iteration=iteration,
            took_part=True,
            peers=averaged.peers,
            weight=averaged.holding.weight,
            test_accuracy=accuracy,
            train_loss=train_loss,
        )

    def _since_last(self) -> tuple[dict[str, int], int]:
        totals, lookups = self._counters()
        sent = {kind: count - self._bytes_before.get(kind, 0) for kind, count in totals.items()}
        made = lookups - self._lookups_before
        self._bytes_before, self._lookups_before = totals, lookups
        return sent, made

    def _note_target(self, iteration: int, accuracy: float | None) -> None:
        target = self._settings.target_accuracy
        if target is not None and accuracy is not None and accuracy >= target and self._reached is None:
            self._reached = TargetReached(iteration=iteration, test_accuracy=accuracy, target=target)
            self._tell(self._reached)

    # testing and saving

    async def _evaluate_and_save(self, hand: ModelAtHand, averaged: Averaged) -> None:
        iteration, over = self._iterations.iteration, self.is_over()
        if not over and self._evaluator.is_due(iteration):
            await self._evaluator.evaluate(hand, iteration, may_differ=averaged.groups_partial > 0)
        if over or iteration % self._settings.save_every == 0:
            await self._save(hand, iteration)

    async def _save(self, hand: ModelAtHand, iteration: int) -> None:
        began = self._clock.now()
        facts = {
            "iteration": str(iteration),
            "run_id": self._settings.run_id,
            "task": self._settings.task,
            "schema": self._learner.schema.digest,
        }
        written = await self._learner.save(hand, self._settings.state_dir, facts)
        self._tell(StateSaved(iteration=iteration, bytes_written=written, seconds=self._clock.now() - began))

    async def serve_late_ones(self) -> None:
        """After the last iteration: serves results until the last groups are done, or D_G."""
        until = self._iterations.last_deadline()
        if until is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._aggregator.unneeded()
