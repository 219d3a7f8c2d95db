"""How much processor time the callbacks of an event loop take, one by one, and what they are called.

Works on asyncio's own loop, whose callbacks all pass through `Handle._run`: uvloop's do not. What is run is the same,
in the same portions: a step of a task, one read of a socket, a timer. Time of the thread, not of the clock, so that
other programs do not count; garbage collection that falls into a callback does.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self  # callbacks may be anything

import msgspec

LIMIT_S = 0.005
"""What none of ours should take."""
ASYNCIO = str(Path(asyncio.__file__).parent)
"""Its own coroutines say less than who awaits them."""
WORST = 10
"""So many are told of."""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """All that have one name: a task by its coroutine, and by the one in it that it went on with."""

    name: str
    cpu_seconds_max: float
    gc_seconds: float
    """Of it, in the call that took most: garbage collection, which any call may happen to start"""
    calls: int
    calls_over_limit: int

    def joined(self, other: Callback) -> Callback:
        longest = max(self, other, key=lambda callback: callback.cpu_seconds_max)
        return Callback(
            name=self.name,
            cpu_seconds_max=longest.cpu_seconds_max,
            gc_seconds=longest.gc_seconds,
            calls=self.calls + other.calls,
            calls_over_limit=self.calls_over_limit + other.calls_over_limit,
        )


class CallbackWatch:
    """Watches all event loops of this process while it is entered."""

    def __init__(self) -> None:
        self._found: dict[str, Callback] = {}
        self._is_left_out = False
        self._gc_s = self._gc_began_s = 0.0

    def __enter__(self) -> Self:
        self._run = run = asyncio.Handle._run

        def timed(handle: Any) -> None:
            name = name_of(handle._callback)  # before it runs: then it is known where it goes on
            self._is_left_out, self._gc_s = False, 0.0
            before_s = time.thread_time()
            run(handle)
            self._note(name, time.thread_time() - before_s)

        asyncio.Handle._run = timed  # type: ignore[assignment]  # see above
        gc.callbacks.append(self._on_gc)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        gc.callbacks.remove(self._on_gc)
        asyncio.Handle._run = self._run  # type: ignore[method-assign]  # see above

    def leave_out(self) -> None:
        """The callback that runs now is not meant."""
        self._is_left_out = True

    def taken(self) -> list[Callback]:
        """Those since the last call, of each name one."""
        found, self._found = self._found, {}
        return list(found.values())

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_began_s = time.thread_time()
        else:
            self._gc_s += time.thread_time() - self._gc_began_s

    def _note(self, name: str, seconds: float) -> None:
        if not self._is_left_out:
            over = int(seconds > LIMIT_S)
            new = Callback(name=name, cpu_seconds_max=seconds, gc_seconds=self._gc_s, calls=1, calls_over_limit=over)
            known = self._found.get(name)
            self._found[name] = new if known is None else known.joined(new)


def worst(callbacks: Iterable[Callback]) -> list[Callback]:
    """Those that took most, of each name one, with the most first."""
    by_name: dict[str, Callback] = {}
    for callback in callbacks:
        known = by_name.get(callback.name)
        by_name[callback.name] = callback if known is None else known.joined(callback)
    return sorted(by_name.values(), key=lambda callback: -callback.cpu_seconds_max)[:WORST]


def name_of(callback: Callable[..., Any] | None) -> str:
    """What runs, as its source calls it."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return _name_of_task(owner)
    name = getattr(callback, "__qualname__", type(callback).__name__)
    if isinstance(owner, asyncio.Transport):
        return f"{type(owner.get_protocol()).__qualname__} in {name}"
    return str(name)


def _name_of_task(task: asyncio.Task[Any]) -> str:
    coroutine: Any = task.get_coro()
    names = [coroutine.__qualname__]
    while inspect.iscoroutine(coroutine := getattr(coroutine, "cr_await", None)):
        if not coroutine.cr_code.co_filename.startswith(ASYNCIO):
            names.append(coroutine.__qualname__)
    return names[0] if len(names) == 1 else f"{names[0]} in {names[-1]}"
