"""The words of a churn plan: which peers something is done to, what, and when. Says nothing of how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

DEFAULT_SPEED = 0.5


class Action(Enum):
    KILL = "kill"
    """SIGKILL, and the same peer again after `restart_after_s`, if that is given."""
    RESTART = "restart"
    """Starts peers that were killed and not restarted."""
    PAUSE = "pause"
    """SIGSTOP, and SIGCONT after `for_s`, or by an event with RESUME."""
    RESUME = "resume"
    SLOW = "slow"
    """Stops and goes on many times a second, so that `speed` of its time is left, for `for_s` or to the end."""
    DROPOUT = "dropout"
    """Stopped when its iteration begins, until all others are through with that iteration."""


class Moment(Enum):
    """Where in a victim's iteration it is struck."""

    UPDATE = "update"
    BEFORE_ROUND = "before-round"
    """The local update is over, and nothing of it was sent."""
    AGGREGATION = "aggregation"
    """An instant of the rounds, drawn from the seed."""


@dataclass(frozen=True, slots=True)
class Share:
    """This share of the peers that are in the swarm, rounded, at least one."""

    share: float


@dataclass(frozen=True, slots=True)
class Count:
    """So many of the peers that are in the swarm."""

    count: int


@dataclass(frozen=True, slots=True)
class Listed:
    """Those with these numbers, as far as they are in the swarm."""

    peers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chance:
    """Each peer that is in the swarm with this probability, whatever becomes of the others."""

    probability: float


Choice = Share | Count | Listed | Chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that is done in `iteration` and, where `every` is given, every so many iterations after it, up to
    `until`. Seconds are durations."""

    action: Action
    peers: Choice
    iteration: int = 1
    every: int | None = None
    until: int | None = None
    when: Moment = Moment.AGGREGATION
    restart_after_s: float | None = None
    for_s: float | None = None
    speed: float = DEFAULT_SPEED

    def is_due(self, iteration: int) -> bool:
        """Whether it happens in this iteration."""
        if iteration < self.iteration or (self.until is not None and iteration > self.until):
            return False
        return iteration == self.iteration or (self.every is not None and not (iteration - self.iteration) % self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnPlan:
    """Events in the order in which they choose their peers. From equal seeds and swarms come equal choices. `written`:
    how the user named it."""

    seed: int
    events: Sequence[Event]
    written: str = field(default="", compare=False)


NO_CHURN = ChurnPlan(seed=0, events=())
