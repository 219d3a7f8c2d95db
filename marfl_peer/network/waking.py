"""Time as this process lived it: what it stood still for, stopped or without a processor, counts against nobody.

Where many share a machine a process may wait for seconds until it runs again, and what others sent lies unread in its
sockets. Silence and the patience of a handshake are measured in the time in which it could have heard them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from marfl_peer.clock import Clock

LOOK_S = 0.5
"""How often somebody looks: a process that runs is never asleep for longer."""
WORTH_NOTING_S = 0.1
STALLS_KEPT = 128
SHORTEST_S = 0.001
"""A timer may ring a hair too early: it is not set again for the same instant."""


class Alarm:
    """Rings once, after `seconds` of a process's time; `cancel` it where that is no longer wanted."""

    def __init__(self, waking: Waking, clock: Clock, seconds: float, callback: Callable[[], object]) -> None:
        self._waking, self._clock, self._callback = waking, clock, callback
        self._seconds, self._start = seconds, clock.now()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._ring)

    def cancel(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        left = self._seconds - self._waking.since(self._start, self._clock.now())
        if left > 0:
            self._timer = self._loop.call_later(max(left, SHORTEST_S), self._ring)
        else:
            self._callback()


class Waking:
    """Whoever looks at the clock every LOOK_S says so with `looked`. Times are of the loop's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_at: float | None = None
        self._stalls: deque[tuple[float, float]] = deque(maxlen=STALLS_KEPT)
        """(when it ended, how long it was) of each."""

    def looked(self, now: float) -> None:
        """The loop runs."""
        stalled_s = self._asleep_s(now)
        if stalled_s > WORTH_NOTING_S:
            self._stalls.append((now, stalled_s))
        self._looked_at = now

    def since(self, start: float, now: float) -> float:
        """The time from `start` to `now`, without what this process stood still for."""
        stalls = [*self._stalls, (now, self._asleep_s(now))]
        return now - start - sum(min(length, end - start) for end, length in stalls if end > start)

    def ago(self, seconds: float, now: float) -> float:
        """When that much time of this process had still to come until `now`."""
        time = now - seconds - self._asleep_s(now)
        for end, length in reversed(self._stalls):
            if end <= time:
                break
            time -= length
        return time

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Raises: TimeoutError in the block when it takes longer than so much of this process's time."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as timeout:
            alarm = self.call_later(seconds, lambda: timeout.reschedule(loop.time()))
            try:
                yield
            finally:
                alarm.cancel()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Alarm:
        """Calls it when so much of this process's time is over."""
        return Alarm(self, self._clock, seconds, callback)

    def _asleep_s(self, now: float) -> float:
        """How long it has been standing still, as far as nobody has looked since."""
        return 0.0 if self._looked_at is None else max(0.0, now - self._looked_at - LOOK_S)
