"""The event loop of one simulated host: asyncio's own tasks, futures and timers on the world's virtual time.

A process is a loop: a paused process is a loop that is not run, a crashed one is never run again. Knows nothing of
peers; sockets are `tcp`'s and `udp`'s, work in threads is done at once and takes the virtual time that it says.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from typing import Any, TypeVarTuple

from marfl_peer.lab.simulator.faces import MachineFace
from marfl_peer.lab.simulator.tcp import Dial, Listener
from marfl_peer.lab.simulator.udp import UdpSocket

Ts = TypeVarTuple("Ts")
_Job = tuple[asyncio.Future[Any], Callable[[], Any]]

THREAD_HOP_S = 0.0005
"""From a loop to a worker thread and back."""


class _Numbered:
    """Sets of tasks and futures are walked in the order of their hashes: these are numbers of birth, not addresses."""

    number: int

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class NumberedFuture(_Numbered, asyncio.Future[Any]):
    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)


class NumberedTask(_Numbered, asyncio.Task[Any]):
    def __init__(self, number: int, work: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any) -> None:
        self.number = number
        super().__init__(work, **options)


class HostLoop(asyncio.BaseEventLoop):
    """Runs only while the world says so; `run_forever` and its like are not for it."""

    def __init__(self, host: MachineFace) -> None:
        super().__init__()
        self.host = host
        self._born = 0
        self._threads: dict[Executor | None, deque[_Job]] = {}
        self.tasks: list[asyncio.Task[Any]] = []
        self.failures: list[str] = []
        self.set_exception_handler(self._failed)

    # time

    def time(self) -> float:
        """Seconds on this host's own clock, which may run faster or slower than the world's."""
        return self.host.now()

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.host.world.soon(self, handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.host.world.at(self.host.world_time(when), self, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio's own loop counts these; here a cancelled one is passed over when its time comes."""

    # tasks

    def create_future(self) -> asyncio.Future[Any]:
        self._born += 1
        return NumberedFuture(self._born, loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[Any]:
        self._born += 1
        task = NumberedTask(self._born, coro, loop=self, name=str(name or f"task-{self._born}"), context=context)
        self.tasks.append(task)
        if len(self.tasks) % 512 == 0:
            self.tasks = [task for task in self.tasks if not task.done()]
        return task

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], Any], *args: *Ts) -> asyncio.Future[Any]:
        """The work is done at the virtual instant at which its thread is free, and is over as much later as it
        charged its host."""
        future = self.create_future()
        waiting = self._threads.setdefault(executor, deque())
        waiting.append((future, lambda: func(*args)))
        if len(waiting) == 1:
            self._work(waiting)
        return future

    def _work(self, waiting: deque[_Job]) -> None:
        """Does the first job that is still wanted; the next one's turn comes when its time is over."""
        future, job = waiting[0]
        result, error = None, None
        if not future.cancelled():
            try:
                result = job()
            except Exception as raised:  # as in a thread: whatever it is belongs to whoever waits for the future
                error = raised
        self.call_later(self.host.spent_s() + THREAD_HOP_S, self._worked, waiting, result, error)

    def _worked(self, waiting: deque[_Job], result: Any, error: Exception | None) -> None:
        future, _ = waiting.popleft()
        if not future.cancelled():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
        if waiting:
            self._work(waiting)

    # sockets

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        return Listener(self.host, protocol_factory, int(port), is_local=str(host).startswith("127."))

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        dial = Dial(self.host, protocol_factory, (str(host), int(port)))
        try:
            return await dial.made
        except asyncio.CancelledError:
            dial.give_up()
            raise

    async def create_datagram_endpoint(self, protocol_factory: Any, local_addr: Any = None, *_: Any, **__: Any) -> Any:
        protocol = protocol_factory()
        transport = UdpSocket(self.host, protocol, int(local_addr[1]))
        protocol.connection_made(transport)
        return transport, protocol

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, f"no names in this world: {host}")

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.host.runs(self):  # a crash tears up what the process was doing
            return
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")
        self.host.world.note_failure(self.host, self.failures[-1])
