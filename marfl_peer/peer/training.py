"""The life between entering and leaving: iteration after iteration of local update and aggregation.

What happens inside an aggregation is told in `iterations`; what is tested and added up, in `evaluation`; how an update
runs beside an aggregation, in `overlap`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.facts import (
    DhtCall,
    IterationFinished,
    LocalUpdateFinished,
    PeerStopped,
    Sink,
    TargetReached,
)
from marfl_peer.ids import Iteration, PeerId
from marfl_peer.learning.trainer import LocalUpdate
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.distilling import Distilling
from marfl_peer.peer.evaluation import Evaluator, Sums
from marfl_peer.peer.iterations import Averaged, Iterations
from marfl_peer.peer.keeper import Keeper
from marfl_peer.peer.learner import Learner, ModelAtHand, finite_or_none
from marfl_peer.peer.overlap import Overlap
from marfl_peer.peer.privacy import WEIGHT, Privacy
from marfl_peer.peer.roster import Roster
from marfl_peer.peer.saving import Saver
from marfl_peer.protocol.participation import Stage, participants
from marfl_peer.protocol.seats import Holding

NO_UPDATE = LocalUpdate(samples=0, batches=0, loss=math.nan)
"""Of a peer that does not train in an iteration."""


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
    """`counters()` gives (bytes sent by kind, DHT look-ups made for iterations, DHT calls), all since the start."""

    def __init__(
        self,
        *,
        settings: Settings,
        learner: Learner,
        iterations: Iterations,
        aggregator: Aggregator,
        distilling: Distilling,
        roster: Roster,
        pool: BufferPool,
        clock: Clock,
        tell: Sink,
        counters: Callable[[], tuple[dict[str, int], int, dict[DhtCall, int]]],
        keeper: Keeper,
        saver: Saver,
        privacy: Privacy | None = None,
    ) -> None:
        self._settings, self._learner, self._iterations = settings, learner, iterations
        self._aggregator, self._distilling, self._roster, self._pool = aggregator, distilling, roster, pool
        self._overlap = Overlap(learner, pool=pool, clock=clock)
        self._clock, self._tell, self._counters = clock, tell, counters
        self._keeper, self._saver, self._privacy = keeper, saver, privacy
        self._stopping = asyncio.Event()
        self._started_at = 0.0
        self._reached: TargetReached | None = None
        self._ended = False
        self._evaluator = Evaluator(settings=settings, learner=learner, roster=roster, tell=tell)
        self._bytes_before: dict[str, int] = {}
        self._lookups_before = 0
        self._calls_before: dict[DhtCall, int] = {}

    def stop(self) -> None:
        """Ends the run at once: what the current iteration did is given up."""
        self._stopping.set()
        self._learner.stop()

    def is_over(self) -> bool:
        is_last = self._iterations.iteration >= self._settings.iterations
        return is_last or self._reached is not None or self._ended or self._is_budget_spent()

    def _is_budget_spent(self) -> bool:
        return self._privacy is not None and self._privacy.is_spent

    async def start(self, sources: Sequence[PeerId], digest: str) -> None:
        """Takes the agreed state from `sources`, unless there is none to take, and opens the first iteration."""
        if sources:
            await self._catch_up(self._learner.own(), sources, digest)
        await self._open(self._learner.own())

    def was_over(self) -> None:
        """The run ended in an earlier life: there is nothing left to do."""
        self._ended = True

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
            await self._saver.flush()
        iteration = int(self._iterations.iteration)
        if work.cancelled():
            return PeerStopped(reason="left", iteration=iteration, detail="asked to leave")
        work.result()
        if self._reached is not None:
            detail = f"test accuracy {self._reached.test_accuracy:.4f}"
            return PeerStopped(reason="target_reached", iteration=iteration, detail=detail)
        if self._is_budget_spent() and iteration < self._settings.iterations:
            detail = f"one more update would exceed an epsilon of {self._settings.dp_epsilon_budget}"
            return PeerStopped(reason="budget_reached", iteration=iteration, detail=detail)
        return PeerStopped(reason="finished", iteration=iteration, detail="")

    async def _run(self) -> None:
        while not self.is_over():
            await self.iterate()
        if self._iterations.holds_result():
            may_differ = not self._iterations.is_exact
            await self._evaluator.evaluate(self._learner.own(), self._iterations.iteration, may_differ=may_differ)
        await self.serve_late_ones()

    async def iterate(self) -> None:
        """Local update, distillation in the first K iterations, aggregation: theta and m become the weighted mean of
        the swarm's."""
        iteration = int(self._iterations.iteration) + 1
        update, update_s = await self._update()
        told = update if self._privacy is None else NO_UPDATE
        self._tell(
            LocalUpdateFinished(
                iteration=iteration,
                samples=told.samples,
                batches=told.batches,
                loss=finite_or_none(told.loss),
                seconds=update_s,
            )
        )
        if self._overlap.is_running:
            assert self._iterations.states.agreed is not None
            await self._overlap.correct(self._iterations.states.agreed)
        weight = self._learner.samples if update.batches else 0
        if self._privacy is not None:  # whoever may have data counts alike, and noise tells nobody who has none
            has_shard = self._learner.own_trainer().shard.index is not None
            weight = WEIGHT if has_shard and self.takes_part(Stage.UPDATE) else 0
        await self._distil(is_to=weight > 0, update_s=update_s)
        await self._aggregate(self._learner.own(), update, weight=weight, update_s=update_s)

    async def _update(self) -> tuple[LocalUpdate, float]:
        """The local update of the open iteration and its seconds: made beside the last exchange, or now."""
        if self._overlap.is_running:
            update, update_s = await self._overlap.update()
            # Who would train was drawn from the view as it was known then.
            return (update if self.takes_part(Stage.UPDATE) else NO_UPDATE), update_s
        if not self.takes_part(Stage.UPDATE):
            return NO_UPDATE, 0.0
        began = self._clock.now()
        update = await self._learner.local_update()
        return update, self._clock.now() - began

    async def _distil(self, *, is_to: bool, update_s: float) -> None:
        """Only what will be averaged is worth distilling."""
        if is_to and not self._iterations.is_stale and self.takes_part(Stage.AGGREGATE):
            await self._distilling.run(update_s=update_s)
        else:
            self._distilling.sit_out()

    def takes_part(self, stage: Stage) -> bool:
        """Whether this peer is one of those that train, or whose update counts, in the iteration that is open."""
        return self._is_drawn(stage, int(self._iterations.iteration) + 1, self._iterations.members())

    def _is_drawn(self, stage: Stage, iteration: int, members: Sequence[PeerId]) -> bool:
        settings = self._settings
        share = settings.participation_update if stage is Stage.UPDATE else settings.participation_aggregate
        return self._iterations.me in participants(stage, members, seed=settings.seed, iteration=iteration, share=share)

    def _is_to_go_on(self) -> bool:
        """Whether the next iteration's update runs beside this one's exchange."""
        following = Iteration(self._iterations.iteration + 2)
        if not self._settings.overlap or following > self._settings.iterations or self._iterations.is_stale:
            return False
        return self._is_drawn(Stage.UPDATE, following, self._roster.view(following).members)

    async def aggregate(self, hand: ModelAtHand, *, samples: int) -> Outcome:
        """The aggregation of a training loop of one's own."""
        weight = samples if self.takes_part(Stage.UPDATE) else 0
        if self._privacy is not None:
            weight = min(weight, WEIGHT)
        self._distilling.sit_out()  # there are no mini-batches to learn on
        return await self._aggregate(hand, None, weight=weight, update_s=0.0)

    async def _aggregate(
        self, hand: ModelAtHand, update: LocalUpdate | None, *, weight: int, update_s: float
    ) -> Outcome:
        if not self.takes_part(Stage.AGGREGATE):
            weight = 0  # what was learned is not averaged, and the result replaces it
        vector = self._pool.take()
        maxima = await self._learner.pack(hand, vector)
        sums, clip = self._evaluator.sums(update), None
        if self._privacy is not None:
            assert self._iterations.states.agreed is not None
            agreed = self._iterations.states.agreed.vector
            sums, clip = sums.without_loss(), self._privacy.threshold(agreed)
            if weight and not self._iterations.is_stale:
                trained = update is None or update.batches > 0
                await self._privacy.release(vector, agreed=agreed, trained=trained)
        holding = Holding(weight=weight, sums=sums.row(), maxima=maxima)
        holding = self._iterations.brought(vector, holding)
        if self._is_to_go_on():
            await self._overlap.go_on(vector, is_own=holding.weight > 0)
        averaged = await self._iterations.average(vector, holding, update_s=update_s)
        if self._privacy is not None and clip is not None:
            await self._privacy.settle(averaged, iteration=int(self._iterations.iteration), clip=clip)
        self._distilling.is_over()
        if averaged is None:
            return await self._take_state(hand)
        holder = self._overlap.holder(hand)
        sketch = await self._learner.adopt(holder, averaged.vector, averaged.holding.maxima)
        self._iterations.agree(averaged)
        return await self._finish(hand, averaged, sketch)

    # between iterations

    async def _open(self, hand: ModelAtHand) -> None:
        """Opens the next iteration's rounds before training, so that others find this peer there."""
        self._iterations.leap()
        while not self.is_over() and not self._iterations.is_current():
            await self._catch_up(hand)
            self._iterations.leap()
        self._started_at = self._clock.now()
        if not self.is_over():
            self._iterations.open()

    async def _catch_up(self, hand: ModelAtHand, sources: Sequence[PeerId] = (), digest: str = "") -> None:
        self._overlap.give_up()
        state = await self._iterations.catch_up(sources, digest)
        if state is None:
            self._iterations.skip()
            return
        await self._learner.adopt(hand, state.vector, state.maxima)
        self._iterations.took(state)
        self._evaluator.forget()

    async def _take_state(self, hand: ModelAtHand) -> Outcome:
        """The swarm went on without this peer: its state replaces what was learned."""
        await self._catch_up(hand)
        await self._open(hand)
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
        sent, lookups, calls = self._since_last()
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
                dht_calls=calls,
            )
        )
        self._note_target(iteration, accuracy)
        if self.is_over() and self._overlap.is_running:  # the run ends with what was agreed on
            self._overlap.give_up()
            await self._learner.adopt(hand, averaged.vector, averaged.holding.maxima)
        await self._open(hand)
        await self._save_and_evaluate(hand, averaged)
        return Outcome(
            iteration=iteration,
            took_part=True,
            peers=averaged.peers,
            weight=averaged.holding.weight,
            test_accuracy=accuracy,
            train_loss=train_loss,
        )

    def _since_last(self) -> tuple[dict[str, int], int, dict[DhtCall, int]]:
        totals, lookups, calls = self._counters()
        sent = {kind: count - self._bytes_before.get(kind, 0) for kind, count in totals.items()}
        made = lookups - self._lookups_before
        called = {outcome: count - self._calls_before.get(outcome, 0) for outcome, count in calls.items()}
        self._bytes_before, self._lookups_before, self._calls_before = totals, lookups, calls
        return sent, made, called

    def _note_target(self, iteration: int, accuracy: float | None) -> None:
        target = self._settings.target_accuracy
        if target is not None and accuracy is not None and accuracy >= target and self._reached is None:
            self._reached = TargetReached(iteration=iteration, test_accuracy=accuracy, target=target)
            self._tell(self._reached)

    # testing and saving

    async def _save_and_evaluate(self, hand: ModelAtHand, averaged: Averaged) -> None:
        holder, is_waiting = self._overlap.holder(hand), self._overlap.is_running
        if is_waiting:  # the test comes after the update that runs; what was agreed on is safe before
            await self._save(holder)
        await self._evaluate(holder, averaged)
        if not is_waiting:
            await self._save(holder)

    async def _evaluate(self, holder: ModelAtHand, averaged: Averaged) -> None:
        iteration = self._iterations.iteration
        if not self.is_over() and self._evaluator.is_due(iteration):
            may_differ = averaged.groups_partial > 0 or not self._iterations.is_exact
            await self._evaluator.evaluate(holder, iteration, may_differ=may_differ)

    async def _save(self, holder: ModelAtHand) -> None:
        state, is_due = self._iterations.states.agreed, self._iterations.iteration % self._settings.save_every == 0
        if state is not None and (is_due or self.is_over()):
            await self._keeper.keep(holder, state, self._reached)

    async def serve_late_ones(self) -> None:
        """After the last iteration: serves results and the state until the last groups and those who are behind have
        them, or D_G."""
        until = self._iterations.last_deadline()
        if until is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._aggregator.unneeded()
                    await self._iterations.states.unneeded()
