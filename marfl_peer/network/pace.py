"""How many handshakes this peer begins at once. With a peer in every process of a crowded machine, each dialling all
others at the same moment, none would be through in time; a few at a time each take a moment.

A place is given up after PLACE_S at the latest, so that those who do not answer hold up nobody for long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from marfl_peer.network.waking import Waking

AT_A_TIME = 8
PLACE_S = 1.0


class Pace:
    """Places for those who dial, in the order in which they ask."""

    def __init__(self, waking: Waking, *, at_a_time: int = AT_A_TIME) -> None:
        self._waking = waking
        self._free = at_a_time
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Waits for a place, and holds it for the block, or until PLACE_S of this process's time are over."""
        if self._free and not self._waiting:
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give_up()  # it was given the place as it was called off
                raise
        held = True

        def leave() -> None:
            nonlocal held
            if held:
                held = False
                self._give_up()

        alarm = self._waking.call_later(PLACE_S, leave)
        try:
            yield
        finally:
            alarm.cancel()
            leave()

    def _give_up(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
