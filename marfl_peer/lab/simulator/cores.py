"""One machine for all: the processors that the processes of a world share, so that callbacks take time and wait.

Without it computing takes no virtual time. Knows loops and callbacks, not what they are for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from marfl_peer.lab.simulator.loop import HostLoop


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`cores` processors; a callback of any process takes `callback_s` of one."""

    cores: int = 2
    callback_s: float = 0.0005


class Cores:
    """Processes take turns in the order in which they had something to do; in a turn one does what was ready then, as
    an event loop does. `run` returns how many callbacks it ran, `after(seconds, step)` is the world's."""

    def __init__(
        self,
        machine: Machine,
        *,
        run: Callable[[HostLoop, Iterable[asyncio.Handle]], int],
        after: Callable[[float, Callable[[], object]], None],
    ) -> None:
        self._callback_s, self._idle = machine.callback_s, machine.cores
        self._run, self._after = run, after
        self._ready: dict[HostLoop, deque[asyncio.Handle]] = {}
        self._waiting: deque[HostLoop] = deque()

    def give(self, loop: HostLoop, handle: asyncio.Handle) -> None:
        """A callback is due: it runs when its process has had its turn."""
        if loop in self._ready:
            self._ready[loop].append(handle)
            return
        self._ready[loop] = deque([handle])
        self._waiting.append(loop)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._idle and self._waiting:
            self._idle -= 1
            self._turn(self._waiting.popleft())

    def _turn(self, loop: HostLoop) -> None:
        handles, self._ready[loop] = self._ready[loop], deque()
        self._after(self._run(loop, handles) * self._callback_s, lambda: self._over(loop))

    def _over(self, loop: HostLoop) -> None:
        self._idle += 1
        if self._ready[loop]:
            self._waiting.append(loop)
        else:
            del self._ready[loop]
        self._dispatch()
