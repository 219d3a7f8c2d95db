"""The connections of a dial-only peer: it keeps one open to every member that listens, since none of them can open one.

So whoever needs it, for a group, a state or a word, has a connection already. Knows whom to dial and when again; what
becomes of a member that does not answer is the links' business, and then the prober's.
"""

from __future__ import annotations

import asyncio

from marfl_peer.clock import Clock
from marfl_peer.ids import PeerId
from marfl_peer.network.links import Links
from marfl_peer.network.tasks import Tasks
from marfl_peer.peer.roster import Roster
from marfl_peer.protocol.dialling import pause_s

TICK_S = 1.0


class Outgoing:
    """`open` it when there is a roster, `close` it at the end."""

    def __init__(self, *, roster: Roster, links: Links, clock: Clock) -> None:
        self._roster, self._links, self._clock = roster, links, clock
        self._tasks = Tasks()
        self._met: dict[PeerId, int] = {}
        """The incarnations that this peer was connected to."""
        self._failures: dict[PeerId, int] = {}
        self._not_before: dict[PeerId, float] = {}

    def open(self) -> None:
        self._tasks.start(self._run())

    async def close(self) -> None:
        await self._tasks.close()

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(TICK_S)

    def look(self) -> None:
        """Dials the members that are not connected; one that did not answer rests for a while, ever longer."""
        now = self._clock.now()
        for peer, incarnation in self._roster.dialled():
            if self._links.is_connected(peer):
                self._met[peer] = incarnation
                self._failures.pop(peer, None)
                self._not_before.pop(peer, None)
            elif now >= self._not_before.get(peer, now) and not self._has_left(peer, incarnation):
                failures = self._failures.get(peer, 0)
                self._failures[peer], self._not_before[peer] = failures + 1, now + pause_s(failures)
                self._links.connect(peer)

    def _has_left(self, peer: PeerId, incarnation: int) -> bool:
        """Whether it said goodbye in this life: its run is over, and it waits for nobody."""
        return self._links.said_goodbye(peer) and self._met.get(peer) == incarnation
