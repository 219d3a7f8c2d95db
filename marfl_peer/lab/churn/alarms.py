"""When something is to be done to a peer, and that it is not once the peer's state has changed. No clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import Enum


class Alarm(Enum):
    STRIKE = "strike"
    RESTART = "restart"
    RESUME = "resume"
    STOP = "stop"
    """The next half of a slow peer's period: it stands still, or"""
    GO = "go"
    """goes on."""


@dataclass(frozen=True, slots=True, order=True)
class _Timer:
    at: float
    number: int
    index: int
    epoch: int
    alarm: str


class Alarms:
    """Timers of peers 0..peers-1, in the order of their times, then of their setting."""

    def __init__(self, peers: int) -> None:
        self._epochs = [0] * peers
        self._timers: list[_Timer] = []
        self._count = 0

    def set(self, at: float, index: int, alarm: Alarm) -> None:
        self._count += 1
        heapq.heappush(self._timers, _Timer(at, self._count, index, self._epochs[index], alarm.value))

    def forget(self, index: int) -> None:
        """What was set for a peer until now does not ring."""
        self._epochs[index] += 1

    def clear(self) -> None:
        self._timers.clear()

    def pop_due(self, now: float) -> tuple[int, Alarm] | None:
        """The first that is due, taken out; None where none is."""
        while self._timers and self._timers[0].at <= now:
            timer = heapq.heappop(self._timers)
            if timer.epoch == self._epochs[timer.index]:
                return timer.index, Alarm(timer.alarm)
        return None

    def next(self) -> float | None:
        """The time of the first; it may prove forgotten."""
        return self._timers[0].at if self._timers else None

    def has(self, alarm: Alarm) -> bool:
        """Whether one of this kind is going to ring."""
        return any(timer.alarm == alarm.value and timer.epoch == self._epochs[timer.index] for timer in self._timers)
