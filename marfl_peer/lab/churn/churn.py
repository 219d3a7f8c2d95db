"""Carries a churn plan through a run: told what the peers say and what becomes of them, it says whom to strike, when.

Sans I/O: indices, facts and times come in, signals and restarts come out. Whoever is stopped goes on in the end: after
its time, when the others are through, when the run is over, or at the latest when the plan is given up.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace

from marfl_peer.facts import (
    Fact,
    GroupFinished,
    IterationFinished,
    IterationStarted,
    LocalUpdateFinished,
    PeerStarted,
    ViewChanged,
)
from marfl_peer.lab.churn.alarms import Alarm, Alarms
from marfl_peer.lab.churn.lots import Instant, choose, draw_instant, lot
from marfl_peer.lab.churn.plan import Action, ChurnPlan, Event, Moment
from marfl_peer.lab.churn.presence import Presence
from marfl_peer.lab.churn.steps import ChurnCounts, Restart, Step, Strike

MAX_ABSENCE_S = 60.0
"""A drop-out ends by then, even if the others are not through."""
SLOW_PERIOD_S = 0.2
EXCHANGE_S = 0.02
MAX_DELAY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intent:
    """What a peer is to suffer in an iteration, and in which of its phases."""

    event: Event
    iteration: int
    instant: Instant


class Churn:
    """One plan on one run of `peers` peers. Times are on one monotonic clock. Every call returns what to do now."""

    def __init__(self, plan: ChurnPlan, *, peers: int, iterations: int) -> None:
        self._plan, self._iterations = plan, iterations
        self._presence = Presence(peers)
        self._alarms = Alarms(peers)
        self._begun = 0
        self._rounds = 1
        self._round_s = 0.0
        self._intents: dict[int, _Intent] = {}
        self._suffers: dict[int, _Intent] = {}
        """What was done last to peers that are stopped, slow, or on their way to be killed."""
        self._killed: dict[int, _Intent] = {}
        """Who was killed and not restarted."""
        self._slow_until: dict[int, float] = {}
        self.counts = ChurnCounts()
        self.is_given_up = False

    # what happens

    def exited(self, index: int, *, killed: bool, now: float) -> list[Step]:
        """The process of a peer has ended, by SIGKILL or otherwise."""
        self._presence.exited(index)
        self._alarms.forget(index)
        self._intents.pop(index, None)
        self._slow_until.pop(index, None)
        intent = self._suffers.pop(index, None)
        if killed and intent is not None and intent.event.action is Action.KILL:
            self._killed[index] = intent
            if intent.event.restart_after_s is not None:
                self._alarms.set(now + intent.event.restart_after_s, index, Alarm.RESTART)
        return self._let_go_on()

    def heard(self, index: int, fact: Fact, *, now: float) -> list[Step]:
        """A peer told a fact."""
        steps: list[Step] = []
        self._presence.heard(index, fact)
        match fact:
            case PeerStarted():
                self._alarms.forget(index)
                self._killed.pop(index, None)
            case ViewChanged():
                self._rounds = max(1, len(fact.grid))
            case GroupFinished():
                self._round_s = fact.seconds
            case IterationStarted() if fact.iteration > self._begun:
                self._begun = fact.iteration
                steps += self._begin(fact.iteration, now)
        steps += self._follow(index, fact, now)
        return steps + self._let_go_on()

    def tick(self, *, now: float) -> list[Step]:
        """Time has passed."""
        steps: list[Step] = []
        while (due := self._alarms.pop_due(now)) is not None:
            steps += self._ring(*due, now)
        return steps

    def give_up(self) -> list[Step]:
        """The user wants to stop: whoever is stopped goes on, and nobody is struck any more."""
        self.is_given_up = True
        self._alarms.clear()
        self._intents.clear()
        self._killed.clear()
        return [step for index in sorted(self._suffers) for step in self._resume(index)]

    # what it knows

    def next_deadline(self) -> float | None:
        return self._alarms.next()

    def restarts_are_due(self) -> bool:
        """Whether a peer that is not running now will be started again."""
        return self._alarms.has(Alarm.RESTART)

    # an iteration begins

    def _begin(self, iteration: int, now: float) -> list[Step]:
        steps: list[Step] = []
        for number, event in enumerate(self._plan.events):
            if self.is_given_up or not event.is_due(iteration):
                continue
            lottery = f"{self._plan.seed}/{number}/{iteration}"
            match event.action:
                case Action.RESTART:
                    for index in choose(event.peers, sorted(self._killed), seed=lottery, spare=False):
                        steps += self._restart(index)
                case Action.RESUME:
                    for index in choose(event.peers, sorted(self._suffers), seed=lottery, spare=False):
                        steps += self._resume(index)
                case Action.DROPOUT if iteration == self._iterations:
                    pass  # it could not end: nobody would be left to go on with
                case _:
                    present = [index for index in self._presence.within(iteration) if not self._is_doomed(index)]
                    for index in choose(event.peers, present, seed=lottery):
                        instant = draw_instant(self._rounds, seed=f"{lottery}/{index}")
                        self._intents[index] = _Intent(event=event, iteration=iteration, instant=instant)
                        if self._presence.peers[index].begun == iteration:
                            steps += self._follow(index, IterationStarted(iteration=iteration), now)
        return steps

    def _is_doomed(self, index: int) -> bool:
        return index in self._intents or index in self._suffers

    def _follow(self, index: int, fact: Fact, now: float) -> list[Step]:
        """Strikes a peer, now or soon, that has come to where it is to be struck."""
        intent = self._intents.get(index)
        if intent is None or getattr(fact, "iteration", None) is None:
            return []
        iteration: int = fact.iteration  # type: ignore[attr-defined]
        if iteration > intent.iteration:
            del self._intents[index]  # it has skipped where it was to be struck
            return []
        if iteration < intent.iteration:
            return []
        delay_s = self._delay_s(intent, fact)
        if delay_s is None:
            return []
        if delay_s > 0:
            self._intents[index] = replace(intent, instant=replace(intent.instant, round=0))
            self._alarms.set(now + delay_s, index, Alarm.STRIKE)
            return []
        return self._strike(index, now)

    def _delay_s(self, intent: _Intent, fact: Fact) -> float | None:
        """How long after this fact, of its iteration, a peer is to be struck; None: not because of it."""
        if isinstance(fact, IterationFinished):
            return 0.0  # its instant did not come, or comes too late
        if intent.event.action is Action.DROPOUT:
            return 0.0 if isinstance(fact, IterationStarted) else None
        match intent.event.when:
            case Moment.UPDATE:
                return 0.0 if isinstance(fact, IterationStarted) else None
            case Moment.BEFORE_ROUND:
                return 0.0 if isinstance(fact, LocalUpdateFinished) else None
            case Moment.AGGREGATION:
                if not intent.instant.begins_with(fact):
                    return None
                within_s = EXCHANGE_S if intent.instant.exchanging else min(self._round_s, MAX_DELAY_S)
                return intent.instant.delay * within_s

    # striking, and what follows

    def _strike(self, index: int, now: float) -> list[Step]:
        intent = self._intents.pop(index)
        event = intent.event
        self._suffers[index] = intent
        match event.action:
            case Action.KILL:
                self._count("killed")
                return [Strike(index, signal.SIGKILL, event.action, intent.iteration)]
            case Action.SLOW:
                self._count("slowed")
                self._slow_until[index] = float("inf") if event.for_s is None else now + event.for_s
                # Slow ones that were all stopped in the same instants would be slow in turns.
                self._alarms.set(now + lot(self._plan.seed, "phase", index) * SLOW_PERIOD_S, index, Alarm.STOP)
                return []
            case Action.DROPOUT:
                self._count("dropped_out")
                self._alarms.set(now + MAX_ABSENCE_S, index, Alarm.RESUME)
            case _:
                self._count("paused")
                if event.for_s is not None:
                    self._alarms.set(now + event.for_s, index, Alarm.RESUME)
        self._presence.stopped(index, intent.iteration)
        return [Strike(index, signal.SIGSTOP, event.action, intent.iteration)]

    def _ring(self, index: int, alarm: Alarm, now: float) -> list[Step]:
        match alarm:
            case Alarm.STRIKE:
                return self._strike(index, now) if index in self._intents else []
            case Alarm.RESTART:
                return self._restart(index)
            case Alarm.RESUME:
                return self._resume(index)
            case Alarm.STOP | Alarm.GO:
                return self._swing(index, alarm, now)

    def _swing(self, index: int, alarm: Alarm, now: float) -> list[Step]:
        """The next half of a slow peer's period."""
        intent = self._suffers.get(index)
        if intent is None or now >= self._slow_until.get(index, 0.0):
            return self._resume(index)
        if alarm is Alarm.STOP:
            self._alarms.set(now + (1 - intent.event.speed) * SLOW_PERIOD_S, index, Alarm.GO)
            return [Strike(index, signal.SIGSTOP, Action.SLOW, intent.iteration)]
        self._alarms.set(now + intent.event.speed * SLOW_PERIOD_S, index, Alarm.STOP)
        return [Strike(index, signal.SIGCONT, Action.SLOW, intent.iteration)]

    def _restart(self, index: int) -> list[Step]:
        if self._presence.is_over or index not in self._killed:
            return []  # the others may be gone before it has found them
        self._count("restarted")
        return [Restart(index, self._killed.pop(index).iteration)]

    def _resume(self, index: int) -> list[Step]:
        intent = self._suffers.get(index)
        if intent is None or intent.event.action is Action.KILL:
            return []
        del self._suffers[index]
        self._slow_until.pop(index, None)
        self._alarms.forget(index)
        self._presence.peers[index].is_stopped = False
        return [Strike(index, signal.SIGCONT, intent.event.action, intent.iteration)]

    def _let_go_on(self) -> list[Step]:
        """Ends drop-outs from iterations that the others have behind them, and all pauses when the run is over."""
        steps: list[Step] = []
        for index, intent in sorted(self._suffers.items()):
            is_absent = intent.event.action is Action.DROPOUT and self._presence.are_through(intent.iteration)
            if is_absent or (self._presence.is_over and self._presence.peers[index].is_stopped):
                steps += self._resume(index)
        return steps

    def _count(self, what: str) -> None:
        self.counts = replace(self.counts, **{what: getattr(self.counts, what) + 1})
