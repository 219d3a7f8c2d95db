"""Puts churn to work on a running loop: carries out what it wants at once, and wakes it at its deadlines.

Knows nothing of plans, nor how signals reach processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from marfl_peer.facts import Fact
from marfl_peer.lab.churn.churn import Churn
from marfl_peer.lab.churn.steps import Restart, Step, Strike


class ChurnDriver:
    """One timer for one `churn`; a context manager, after which nothing rings any more.

    `now` is the run's clock in seconds; `signal(index, number)` and `restart(index)` act on a peer's process; `note`
    hears of every step.
    """

    def __init__(
        self,
        churn: Churn,
        *,
        now: Callable[[], float],
        signal: Callable[[int, int], None],
        restart: Callable[[int], None],
        note: Callable[[Step], None],
    ) -> None:
        self.churn = churn
        self._now, self._signal, self._restart, self._note = now, signal, restart, note
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def exited(self, index: int, *, killed: bool) -> None:
        self._carry_out(self.churn.exited(index, killed=killed, now=self._now()))

    def heard(self, index: int, fact: Fact) -> None:
        self._carry_out(self.churn.heard(index, fact, now=self._now()))

    def give_up(self) -> None:
        """The run is to end: see `Churn.give_up`. May be called more than once."""
        self._carry_out(self.churn.give_up())

    def _tick(self) -> None:
        self._timer = None
        self._carry_out(self.churn.tick(now=self._now()))

    def _carry_out(self, steps: list[Step]) -> None:
        for step in steps:
            self._note(step)
            match step:
                case Strike():
                    self._signal(step.index, step.number)
                case Restart():
                    self._restart(step.index)
        self._arm()

    def _arm(self) -> None:
        loop, at = asyncio.get_running_loop(), self.churn.next_deadline()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at is None else loop.call_later(max(0.0, at - self._now()), self._tick)
