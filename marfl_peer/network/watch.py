"""The watch over open connections: sends heartbeats, ends those that are silent, and measures how late the own loop is.

Knows connections and times; not whose a connection is, nor what follows from its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from marfl_peer.clock import Clock
from marfl_peer.facts import LoopLagged, Sink
from marfl_peer.network.connection import Connection
from marfl_peer.network.guests import Guests
from marfl_peer.network.waking import LOOK_S, Waking
from marfl_peer.protocol.deadlines import HEARTBEAT_S, heartbeat_s, silence_s
from marfl_peer.protocol.messages import Heartbeat

LAG_WORTH_TELLING_S = 0.1
_LAG_MEMORY = 0.9
NEARLY = 0.9
"""Of a heartbeat: it is due at every second look, and timers ring a little early or late."""


class Watch:
    """`connections` are those to peers; guests need no heartbeat. `iteration()`: where this peer is; `company()`:
    how many its largest group has. `waking` is told of every look."""

    def __init__(
        self,
        *,
        connections: Callable[[], Iterable[Connection]],
        guests: Guests,
        iteration: Callable[[], int],
        company: Callable[[], int],
        clock: Clock,
        tell: Sink,
        waking: Waking,
    ) -> None:
        self.lag_s = 0.0
        """The most that the loop was late of late."""
        self._connections, self._guests, self._iteration = connections, guests, iteration
        self._company = company
        self._clock, self._tell, self._waking = clock, tell, waking

    async def run(self) -> None:
        """Looks twice a heartbeat, until it is cancelled."""
        self._waking.looked(self._clock.now())
        while True:
            due = self._clock.now() + LOOK_S
            await asyncio.sleep(LOOK_S)
            lag = max(0.0, self._clock.now() - due)
            self._waking.looked(self._clock.now())
            self.remember(lag)
            if lag > LAG_WORTH_TELLING_S:
                self._tell(LoopLagged(seconds=lag))
            self.look(self._clock.now(), lag)

    def remember(self, lag: float) -> None:
        """A process that stood still for longer than others may be silent was stopped: that says nothing about how busy
        its machine is."""
        self.lag_s = max(lag if lag < silence_s(0.0) else 0.0, self.lag_s * _LAG_MEMORY)

    def look(self, now: float, lag: float) -> None:
        """Looks at every connection once, `lag` seconds later than was planned."""
        company = self._company()
        every_s = heartbeat_s(company)
        silent_since: dict[float, float] = {}
        for connection in self._connections():
            if now - connection.last_sent >= NEARLY * min(every_s, connection.own_beat_s):
                connection.send(Heartbeat(iteration=self._iteration(), every_s=every_s))
                connection.own_beat_s = every_s
            their_beat_s = connection.their_beat_s
            if their_beat_s not in silent_since:
                silence = silence_s(self.lag_s, company=company, every_s=their_beat_s)
                silent_since[their_beat_s] = self._waking.ago(silence, now)
            # Right after a lag what was sent to us in the meantime has not been read yet.
            if connection.last_heard < silent_since[their_beat_s] and lag < HEARTBEAT_S:
                connection.fail(TimeoutError("silent"))
        self._guests.send_idle_away(now)
