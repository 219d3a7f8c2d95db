"""Decides which local peers get which signal when, and what counts as finished, left and lost. Sans I/O.

No run hangs for ever: peers that outlast the others, or a swarm in which nothing happens any more, are asked
to leave and then killed. Knows indices, exit codes and facts; processes belong to the launcher.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum

from marfl_peer.facts import Fact, PeerStopped

INTERRUPTED = 130
PEERS_WERE_LOST = 1


class Fate(Enum):
    ALIVE = "alive"
    FINISHED = "finished"
    LEFT = "left"
    KILLED = "killed"
    """By the churn plan, and not there again."""
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """For the rest after a peer finished; for news of any iteration; to leave when asked to."""

    linger_s: float = 60.0
    stall_s: float = 600.0
    drain_s: float = 20.0


@dataclass(slots=True, kw_only=True)
class Life:
    """One peer's process. `may_leave`: the user asked it to, so that its leaving is no loss. `may_be_killed`: the
    churn plan does so."""

    index: int
    pid: int
    alive: bool = True
    code: int | None = None
    killed_by: int | None = None
    stopped: PeerStopped | None = None
    may_leave: bool = False
    may_be_killed: bool = False
    asked_at: float | None = None
    was_killed: bool = False

    @property
    def fate(self) -> Fate:
        if self.alive:
            return Fate.ALIVE
        reason = None if self.stopped is None else self.stopped.reason
        if self.code == 0 and reason in ("finished", "target_reached", "budget_reached"):
            return Fate.FINISHED
        if self.may_be_killed and self.killed_by == signal.SIGKILL:
            return Fate.KILLED
        return Fate.LEFT if self.may_leave else Fate.LOST


class Warden:
    """Fed with what happens; tells which signals are due. `now` is on one monotonic clock."""

    def __init__(self, patience: Patience, *, now: float) -> None:
        self._patience = patience
        self._news_at = now
        self._finished_at: float | None = None
        self._interrupts = 0
        self._heard_early: dict[int, PeerStopped] = {}
        self.lives: dict[int, Life] = {}

    def started(self, index: int, pid: int, *, now: float) -> None:
        life = Life(index=index, pid=pid, may_leave=self.is_interrupted)
        life.stopped = self._heard_early.pop(index, None)
        self.lives[index] = life
        self._news_at = now

    def exited(self, index: int, code: int | None, killed_by: int | None, *, now: float) -> None:
        life = self.lives[index]
        life.alive, life.code, life.killed_by = False, code, killed_by
        self._news_at = now
        if code == 0 and not life.may_leave:
            self._finished_at = now

    def heard(self, index: int, fact: Fact, *, now: float) -> None:
        """Only facts about an iteration are news: a peer that merely refreshes its DHT makes no progress."""
        if isinstance(fact, PeerStopped):
            life = self.lives.get(index)
            if life is not None and life.stopped is None:
                life.stopped = fact
            else:  # facts and reports come on two ways: the end of a short life may be heard before its start
                self._heard_early[index] = fact
        if hasattr(fact, "iteration"):
            self._news_at = now

    def expect_kill(self, index: int) -> None:
        """The churn plan kills this peer now."""
        if index in self.lives:
            self.lives[index].may_be_killed = True

    def interrupt(self) -> None:
        """The user wants to stop: once, everybody is asked to leave; twice, everybody is killed."""
        self._interrupts += 1
        for life in self.alive():
            life.may_leave = True

    def signals_due(self, now: float) -> list[tuple[int, int]]:
        """(index, signal number) of every signal to send at this moment, each once."""
        due: list[tuple[int, int]] = []
        for life in self.alive():
            overstayed = life.asked_at is not None and now >= life.asked_at + self._patience.drain_s
            if self._interrupts > 1 or overstayed:
                if not life.was_killed:
                    life.was_killed = True
                    due.append((life.index, signal.SIGKILL))
            elif life.asked_at is None and (self.is_interrupted or self._is_overdue(now)):
                life.asked_at = now
                due.append((life.index, signal.SIGTERM))
        return due

    def _is_overdue(self, now: float) -> bool:
        if now >= self._news_at + self._patience.stall_s:
            return True
        return self._finished_at is not None and now >= self._finished_at + self._patience.linger_s

    @property
    def is_interrupted(self) -> bool:
        return self._interrupts > 0

    def alive(self) -> list[Life]:
        return [life for life in self.lives.values() if life.alive]

    def with_fate(self, fate: Fate) -> list[Life]:
        return [life for life in self.lives.values() if life.fate is fate]

    def exit_code(self) -> int:
        """Of the whole run, once nobody is alive: 130 interrupted, 1 peers were lost, 0 all finished."""
        if self.is_interrupted:
            return INTERRUPTED
        return PEERS_WERE_LOST if self.with_fate(Fate.LOST) or not self.lives else 0
