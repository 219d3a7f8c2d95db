"""How far a peer is, from its own facts: what `status` tells of it."""

from __future__ import annotations

from collections import deque

from marfl_peer.clock import Clock
from marfl_peer.facts import Fact, GroupAgreed, GroupFinished, IterationFinished, PrivacySpent
from marfl_peer.observe.position import Position
from marfl_peer.observe.status import Failure, failure_in

RATE_OVER = 8
"""Iterations over which the rate is told."""
SPENT = ("epsilon_mate", "epsilon_outsider", "delta", "releases")
"""What is shown of `PrivacySpent`, where updates are private."""


class Progress:
    """`note` is a sink."""

    def __init__(self, clock: Clock) -> None:
        self.position = Position()
        self.last: IterationFinished | None = None
        self.tested: IterationFinished | None = None
        """The last one that knew the swarm's accuracy."""
        self.failure: Failure | None = None
        self.groups: dict[str, int] = {}
        self._clock = clock
        self._group: tuple[str, ...] = ()
        self._ended_at: deque[float] = deque(maxlen=RATE_OVER + 1)
        self.spent: PrivacySpent | None = None

    def note(self, fact: Fact) -> None:
        self.position(fact)
        match fact:
            case GroupAgreed():
                self._group = fact.members
            case GroupFinished():
                self._group = fact.members or self._group
                self.groups[fact.outcome] = self.groups.get(fact.outcome, 0) + 1
            case IterationFinished():
                self.last = fact
                self.tested = self.tested if fact.test_accuracy is None else fact
                self._ended_at.append(self._clock.now())
            case PrivacySpent():
                self.spent = fact
            case _:
                pass
        failed = failure_in(fact)
        if failed is not None:
            code, detail = failed
            iteration = self.position.iteration
            self.failure = Failure(at=self._clock.wall(), iteration=iteration, code=code, detail=detail)

    def as_dict(self) -> dict[str, object]:
        """Fields of `observe.status.Status`."""
        last, tested, position = self.last, self.tested, self.position
        return {
            "iteration": position.iteration,
            "phase": position.phase,
            "round": position.round,
            "rounds": position.rounds,
            "finished": 0 if last is None else last.iteration,
            "test_accuracy": None if tested is None else tested.test_accuracy,
            "evaluated_iteration": None if tested is None else tested.evaluated_iteration,
            "train_loss": None if last is None else last.train_loss,
            "iteration_seconds": None if last is None else last.seconds,
            "iterations_per_minute": self._rate(),
            "group": self._group,
            "groups": dict(self.groups),
            "last_failure": self.failure,
            **{name: getattr(self.spent, name, None) for name in SPENT},
        }

    def _rate(self) -> float | None:
        ended = self._ended_at
        span_s = ended[-1] - ended[0] if ended else 0.0
        return 60 * (len(ended) - 1) / span_s if span_s > 0 else None
