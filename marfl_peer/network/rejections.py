"""Counts datagrams and records that were dropped, and tells about them at most once a second for each reason,
so that a flood of garbage does not become a flood of facts. What was wrong with them is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from marfl_peer.facts import DatagramRejected, Sink

QUIET_S = 1.0


class Rejections:
    """Used on a running event loop; `close()` tells what was not told yet."""

    def __init__(self, on_fact: Sink | None) -> None:
        self.total: Counter[str] = Counter()
        self._on_fact = on_fact
        self._untold: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def count(self, code: str) -> None:
        """One more was dropped for this reason (one of a bounded set of words)."""
        self.total[code] += 1
        self._untold[code] += 1
        if self._timer is None:
            self._tell()
            self._timer = asyncio.get_running_loop().call_later(QUIET_S, self._quiet_ended)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell()

    def _quiet_ended(self) -> None:
        self._timer = None
        if self._untold:
            self._tell()
            self._timer = asyncio.get_running_loop().call_later(QUIET_S, self._quiet_ended)

    def _tell(self) -> None:
        untold, self._untold = self._untold, Counter()
        if self._on_fact is not None:
            for code in sorted(untold):
                self._on_fact(DatagramRejected(code=code, count=untold[code]))
