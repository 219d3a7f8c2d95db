"""A simulated machine: an address, a disk, a clock that may drift, and at most one process that can be paused,
killed and started again. What the process does is handed to it; here nobody knows what a peer is."""

from __future__ import annotations

import asyncio
import math
import random
import shutil
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from marfl_peer.clock import Clock
from marfl_peer.lab.simulator.faces import TapFace, WorldFace
from marfl_peer.lab.simulator.loop import HostLoop
from marfl_peer.lab.simulator.tcp import End, Listener
from marfl_peer.lab.simulator.udp import UdpSocket

EPOCH = 1_800_000_000.0
"""Seconds since the Unix epoch when a world begins."""
FIRST_PORT = 40_000
TEARS = 50


class Ground(WorldFace, Protocol):
    """The world as its machines see it."""

    def note(self, host: Host | None, what: str, detail: str = "") -> None: ...


class Process:
    """A life of the host: one event loop, from `start` to its end or to a crash."""

    def __init__(self, host: Host, life: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.loop = HostLoop(host)
        self._life = life
        self._host = host
        self.main: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self.main = self.loop.create_task(self._life(), name="main")
        self.main.add_done_callback(lambda _: self._host.over(self))

    def forget(self) -> None:
        """Tears up what was left undone, so that nothing of it wakes when its memory is collected."""
        events._set_running_loop(self.loop)
        try:
            for task in [*self.loop.tasks]:
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own switch for this
                if not task.done():
                    _tear_up(task.get_coro())
        finally:
            events._set_running_loop(None)
        self.loop.tasks.clear()
        self.loop.close()


class TornUpError(BaseException):
    """What a coroutine is told whose process is gone."""


def _tear_up(work: Any) -> None:
    """A coroutine may wait again for others to clean up, and is then told again. `close` would not do: it gives up on
    whatever waits again, and that complains when it is collected."""
    for _ in range(TEARS):
        try:
            work.throw(TornUpError())
        except StopIteration:
            return
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            return


class Host:
    """`disk` is a folder that outlives crashes. `drift` is how much faster its clock runs: 1e-4 is 100 ppm."""

    def __init__(self, world: Ground, index: int, *, address: str, disk: Path, drift: float = 0.0) -> None:
        self.world, self.index, self.address, self.disk = world, index, address, disk
        self.random = random.Random(f"{world.seed}/host {index}")
        self.slowness = 1.0
        self.uplink_free_at = 0.0
        self.is_up = True
        self.is_paused = False
        self.process: Process | None = None
        self.ended: list[Process] = []
        self.ends: list[End] = []
        self.listeners: dict[int, Listener] = {}
        self.udp_sockets: dict[int, UdpSocket] = {}
        self.tap: TapFace | None = None
        """Sees every frame that the host sends and reads, if somebody wants to."""
        self._rate, self._offset = 1.0 + drift, self.random.uniform(0.0, 1000.0)
        self._skew = self.random.uniform(-1.0, 1.0)
        self._backlog: deque[tuple[HostLoop | None, asyncio.Handle]] = deque()
        self._port = FIRST_PORT
        self._charged_s = 0.0
        self.crashes = 0
        self._left_open = False

    def __repr__(self) -> str:
        return f"host {self.index}"

    # what processes on it use

    def now(self) -> float:
        return self._offset + self.world.time * self._rate

    def wall(self) -> float:
        """Seconds since the Unix epoch, as far as this machine knows."""
        return EPOCH + self.world.time * self._rate + self._skew

    def world_time(self, local: float) -> float:
        """When this host's clock shows `local` or, by rounding, next to nothing more: a timer that is set for then and
        comes a hair too early would be set again for the same instant, for ever."""
        time = (local - self._offset) / self._rate
        while self._offset + time * self._rate < local:
            time += math.ulp(local)
        return time

    def set_clock(self, *, drift: float, step_s: float) -> None:
        """From now on the clock runs so much faster than the world's; its wall time jumps by `step_s`."""
        self._skew += step_s + self.world.time * (self._rate - 1.0 - drift)
        self._offset += self.world.time * (self._rate - 1.0 - drift)
        self._rate = 1.0 + drift

    def entropy(self, count: int) -> bytes:
        return self.random.randbytes(count)

    def charge(self, seconds: float) -> None:
        """The work in a thread that runs now takes this long."""
        self._charged_s += seconds * self.slowness

    def spent_s(self) -> float:
        spent, self._charged_s = self._charged_s, 0.0
        return spent

    def next_port(self) -> int:
        self._port += 1
        return self._port

    def loop(self) -> HostLoop:
        assert self.process is not None
        return self.process.loop

    def soon(self, step: Callable[[], object]) -> None:
        """Runs in this host's process, in its turn; nowhere if the process has gone."""
        if self.process is not None:
            loop = self.process.loop
            self.world.soon(loop, asyncio.Handle(step, (), loop))

    # its life

    def start(self, life: Callable[[], Coroutine[Any, Any, None]]) -> Process:
        """Starts the process; what an earlier one had open is gone."""
        assert self.process is None
        self.is_up = True
        if self._left_open:
            self._remount()
        self.process = process = Process(self, life)
        self.world.note(self, "start")
        self.soon(process.begin)
        return process

    def crash(self, *, silently: bool = False) -> None:
        """The process ends between two instructions, without cleaning up. `silently`: the machine loses power, so
        that nobody is told; else its system resets its connections."""
        process = self.process
        if process is None:
            return
        self.world.note(self, "power lost" if silently else "killed")
        self.crashes += 1
        self._left_open = True
        self._bury(process, silently=silently)

    def over(self, process: Process) -> None:
        """The process came to its own end."""
        if process is self.process:
            self.world.note(self, "exit")
            self._bury(process, silently=False)

    def pause(self) -> None:
        """As SIGSTOP: nothing runs, but the system goes on taking packets."""
        if self.process is not None and not self.is_paused:
            self.world.note(self, "paused")
            self.is_paused = True

    def resume(self) -> None:
        if self.is_paused:
            self.world.note(self, "resumed")
            self.is_paused = False
            backlog, self._backlog = self._backlog, deque()
            for loop, handle in backlog:
                if loop is not None:
                    self.world.soon(loop, handle)

    def keep(self, loop: HostLoop, handle: asyncio.Handle) -> None:
        """Something that is due while the process is paused."""
        self._backlog.append((loop, handle))

    def runs(self, loop: asyncio.AbstractEventLoop) -> bool:
        return self.process is not None and self.process.loop is loop

    def forget(self) -> None:
        """The world is over: lets go of all processes."""
        processes = [*self.ended, *([] if self.process is None else [self.process])]
        self.process = None
        for process in processes:
            process.forget()
        self.ended.clear()
        self.ends.clear()
        self.tap = None
        self._backlog.clear()

    def _remount(self) -> None:
        """The disk as the dead process left it: its locks are gone, and nothing that it still has open gets there."""
        self._left_open = False
        fresh = self.disk.with_name(f"{self.disk.name.partition('.')[0]}.{self.crashes}")
        shutil.copytree(self.disk, fresh)
        self.disk = fresh

    def _bury(self, process: Process, *, silently: bool) -> None:
        self.is_up = not silently
        self.is_paused = False
        self._backlog.clear()
        self.process = None
        self.ended.append(process)
        for end in [*self.ends]:
            end.die(silently=silently)
        self.ends.clear()
        self.listeners.clear()
        self.udp_sockets.clear()


class HostClock(Clock):
    """Wall time of a host: its own clock, which drifts."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def wall(self) -> float:
        return self._host.wall()
