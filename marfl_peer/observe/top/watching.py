"""The life of the view: asks again at every interval, draws after every answer and every key, ends when asked to.

What asks, what draws and where keys come from are handed in.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from marfl_peer.observe.top.keys import Key
from marfl_peer.observe.top.rows import Row
from marfl_peer.observe.top.screen import Choice

Look = Callable[[], Awaitable[Sequence[Row]]]
Show = Callable[[Sequence[Row], Choice, float], None]
"""(rows, choice, how long asking took in seconds)"""
FIRST = Choice()


class Watching:
    """`page()` is how many rows the screen has now. `press` takes keys; `run` returns after `Key.QUIT` or `stop`."""

    def __init__(
        self, look: Look, show: Show, *, page: Callable[[], int], interval_s: float, choice: Choice = FIRST
    ) -> None:
        self._look, self._show, self._page, self._interval_s = look, show, page, interval_s
        self._rows: Sequence[Row] = ()
        self._choice = choice
        self._seconds = 0.0
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Raises: what `look` raises."""
        looking = asyncio.create_task(self._keep_looking())
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait((looking, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    def press(self, key: Key) -> None:
        if key is Key.QUIT:
            self.stop()
            return
        self._choice = self._choice.after(key, rows=len(self._rows), page=self._page())
        self.draw()

    def stop(self) -> None:
        self._over.set()

    def draw(self) -> None:
        """Also when the size of the screen changed."""
        self._show(self._rows, self._choice, self._seconds)

    async def _keep_looking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._rows = await self._look()
            self._seconds = loop.time() - began
            self.draw()
            await asyncio.sleep(max(self._interval_s - self._seconds, self._interval_s / 10))
