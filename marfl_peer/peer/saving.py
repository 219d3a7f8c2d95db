"""Puts states on disk beside the training, in a thread of its own. Of those that wait only the latest is written.

Knows when to write and what to tell of it; not what a state is made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from marfl_peer.clock import Clock
from marfl_peer.errors import ConfigError
from marfl_peer.facts import Sink, StateNotSaved, StateSaved
from marfl_peer.network.tasks import Tasks


@dataclass(frozen=True, slots=True, eq=False)
class Unsaved:
    """The state after `iteration`; `write` returns the bytes written. Raises: ConfigError."""

    iteration: int
    write: Callable[[], int]


class Saver:
    """A disk that cannot be written stops no training: that is told, and the state before is still there."""

    def __init__(self, *, clock: Clock, tell: Sink) -> None:
        self._clock, self._tell = clock, tell
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saver")
        self._tasks = Tasks()
        self._waiting: Unsaved | None = None
        self._writing: asyncio.Task[None] | None = None

    def save(self, state: Unsaved) -> None:
        """Writes it as soon as the one before is written, unless a later one comes in the meantime."""
        self._waiting = state
        if self._writing is None or self._writing.done():
            self._writing = self._tasks.start(self._write())

    async def flush(self) -> None:
        """Returns when nothing is left to write."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])

    async def close(self) -> None:
        await self.flush()
        self._thread.shutdown()

    async def _write(self) -> None:
        while (state := self._waiting) is not None:
            self._waiting = None
            began = self._clock.now()
            try:
                written = await asyncio.get_running_loop().run_in_executor(self._thread, state.write)
            except ConfigError as error:
                self._tell(StateNotSaved(iteration=state.iteration, detail=str(error)))
            else:
                seconds = self._clock.now() - began
                self._tell(StateSaved(iteration=state.iteration, bytes_written=written, seconds=seconds))
