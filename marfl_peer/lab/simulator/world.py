"""Virtual time and everything that happens in it, in one order that follows from the seed.

Knows hosts and their loops; not what runs on them. Nothing in it waits: time jumps to the next event.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from marfl_peer.lab.simulator.cores import Cores, Machine
from marfl_peer.lab.simulator.faces import MachineFace
from marfl_peer.lab.simulator.host import Host
from marfl_peer.lab.simulator.loop import HostLoop
from marfl_peer.lab.simulator.network import LAN, Climate, Network

INSTANT_S = 0.001
MAX_EVENTS_AN_INSTANT = 200_000
"""More than any swarm has to do at once: something spins."""


class Standstill(Exception):
    """Events follow each other, but time does not move on."""


@dataclass(frozen=True, slots=True)
class Noted:
    """One line of the trace. `host` is -1 for what happens to the network."""

    time: float
    host: int
    what: str

    def __str__(self) -> str:
        who = "network" if self.host < 0 else f"peer {self.host}"
        return f"{self.time:10.3f} s  {who:8}  {self.what}"


class World:
    """`on_note` is told every noted event but bytes, which only go into the digest of the trace. `machine`: all hosts
    are processes on it and share its processors; None: each has a machine of its own, on which computing takes no
    time."""

    def __init__(
        self,
        seed: int,
        *,
        climate: Climate = LAN,
        machine: Machine | None = None,
        on_note: Callable[[Noted], None] | None = None,
    ) -> None:
        self.seed = seed
        self._cores = None if machine is None else Cores(machine, run=self._run_all, after=self.after)
        self.time = 0.0
        self.network = Network(self, climate)
        self.hosts: list[Host] = []
        self.event_count = 0
        self._by_address: dict[str, Host] = {}
        self._ready: deque[tuple[HostLoop, asyncio.Handle]] = deque()
        self._timers: list[tuple[float, int, HostLoop | None, Callable[[], object] | asyncio.Handle]] = []
        self._number = 0
        self._trace = hashlib.blake2b(digest_size=16)
        self._on_note = on_note

    # hosts

    def add_host(self, disk: Path, *, drift: float = 0.0) -> Host:
        index = len(self.hosts)
        address = f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}"
        host = Host(self, index, address=address, disk=disk, drift=drift)
        self.hosts.append(host)
        self._by_address[address] = host
        return host

    def host_at(self, address: str) -> Host | None:
        return self._by_address.get(address)

    # what is to happen

    def soon(self, loop: asyncio.AbstractEventLoop, handle: asyncio.Handle) -> None:
        assert isinstance(loop, HostLoop)
        self._ready.append((loop, handle))

    def at(self, time: float, loop: asyncio.AbstractEventLoop, handle: asyncio.Handle) -> None:
        assert isinstance(loop, HostLoop)
        self._push(time, loop, handle)

    def call(self, time: float, step: Callable[[], object]) -> None:
        """Something that happens to the world itself, outside of any process."""
        self._push(time, None, step)

    def after(self, delay_s: float, step: Callable[[], object]) -> None:
        self.call(self.time + delay_s, step)

    def _push(self, time: float, loop: HostLoop | None, what: Callable[[], object] | asyncio.Handle) -> None:
        self._number += 1
        heapq.heappush(self._timers, (max(time, self.time), self._number, loop, what))

    # running

    def run(self, *, until: Callable[[], bool], deadline: float) -> bool:
        """Lets things happen until `until()` holds (asked whenever time moves on); False if `deadline` passed or
        nothing is left to happen. Raises: Standstill."""
        since, count = self.time, self.event_count
        try:
            while not until():
                if not self._advance(deadline):
                    return False
                self._run_ready()
                if self.time > since + INSTANT_S:
                    since, count = self.time, self.event_count
                elif self.event_count > count + MAX_EVENTS_AN_INSTANT:
                    raise Standstill(f"time stands still at {self.time:.6f} s")
            return True
        finally:
            events._set_running_loop(None)

    def _advance(self, deadline: float) -> bool:
        """Moves time to the next event and makes all of that instant happen."""
        if self._ready:
            return True
        if not self._timers or self._timers[0][0] > deadline:
            self.time = max(self.time, min(deadline, self._timers[0][0] if self._timers else deadline))
            return False
        self.time = self._timers[0][0]
        while self._timers and self._timers[0][0] <= self.time:
            _, _, loop, what = heapq.heappop(self._timers)
            if loop is None:
                self.event_count += 1
                what()  # type: ignore[operator]  # without a loop it is no handle
            else:
                self._ready.append((loop, what))  # type: ignore[arg-type]
        return True

    def _run_ready(self) -> None:
        ready, running = self._ready, None
        while ready:
            loop, handle = ready.popleft()
            if self._cores is not None:
                self._cores.give(loop, handle)
                continue
            if self._may_run(loop, handle):
                if loop is not running:
                    events._set_running_loop(loop)
                    running = loop
                handle._run()
        events._set_running_loop(None)

    def _run_all(self, loop: HostLoop, handles: Iterable[asyncio.Handle]) -> int:
        """A process has its turn on a processor; returns how many of the callbacks there was something to do for."""
        count = self.event_count
        events._set_running_loop(loop)
        for handle in handles:
            if self._may_run(loop, handle):
                handle._run()
        events._set_running_loop(None)
        return self.event_count - count

    def _may_run(self, loop: HostLoop, handle: asyncio.Handle) -> bool:
        host = self.hosts[loop.host.index]
        if handle._cancelled or not host.runs(loop):
            return False
        if host.is_paused:
            host.keep(loop, handle)
            return False
        self.event_count += 1
        return True

    def close(self) -> None:
        """Forgets all processes, those too that were cut off in the middle of something."""
        for host in self.hosts:
            host.forget()
        self._ready.clear()
        self._timers.clear()

    # what happened

    def note(self, host: Host | None, what: str, detail: str = "") -> None:
        noted = Noted(self.time, -1 if host is None else host.index, f"{what} {detail}".rstrip())
        self._trace.update(f"{self.time!r} {noted.host} {noted.what}\n".encode())
        if self._on_note is not None:
            self._on_note(noted)

    def note_failure(self, host: MachineFace, text: str) -> None:
        """A callback or task of the host's failed, and nobody took the exception."""
        self.note(self.hosts[host.index], "failure", text)

    def note_bytes(self, host: MachineFace, source: tuple[str, int], count: int) -> None:
        self._trace.update(f"{self.time!r} {host.index} {source} {count}\n".encode())

    @property
    def digest(self) -> str:
        """Names everything that happened so far: equal for equal seeds and code."""
        return self._trace.hexdigest()
