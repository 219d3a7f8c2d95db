"""Time is what the callbacks under watch say that it is."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from marfl_peer.lab.bench import callbacks
from marfl_peer.lab.bench.callbacks import Callback, CallbackWatch, name_of, worst


class Clock:
    """Of the thread."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def thread_time(self) -> float:
        return self.now_s

    def work(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    yield clock


def watched(main: Any) -> dict[str, Callback]:
    with CallbackWatch() as watch, asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(main(watch))
        return {found.name.rpartition("<locals>.")[2]: found for found in watch.taken()}


def test_steps_of_a_task_are_told_apart_by_where_they_go_on(clock: Clock) -> None:
    async def inner() -> None:
        await asyncio.sleep(0)
        clock.work(0.25)

    async def main(watch: CallbackWatch) -> None:
        clock.work(0.125)
        await inner()

    found = watched(main)
    assert (found["main"].cpu_seconds_max, found["main"].calls) == (0.125, 1)
    assert (found["inner"].cpu_seconds_max, found["inner"].calls_over_limit) == (0.25, 1)


def test_callbacks_and_what_reads_a_socket_are_named(clock: Clock) -> None:
    class Reader(asyncio.Protocol):
        def __init__(self) -> None:
            self.is_read = asyncio.Event()

        def data_received(self, data: bytes) -> None:
            clock.work(0.5)
            self.is_read.set()

    async def main(watch: CallbackWatch) -> None:
        loop, reader = asyncio.get_running_loop(), Reader()
        server = await loop.create_server(lambda: reader, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            _, writer = await asyncio.open_connection(host, port)
            writer.write(b"x")
            loop.call_soon(functools.partial(clock.work, 0.25))
            await reader.is_read.wait()
            writer.close()

    found = watched(main)
    assert found["Clock.work"].cpu_seconds_max == 0.25
    assert found["Reader in _SelectorSocketTransport._read_ready"].cpu_seconds_max == 0.5


def test_garbage_collection_in_a_callback_is_told(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def during(phase: str, info: dict[str, int]) -> None:
        clock.work(0.25 if phase == "start" else 0.0)

    async def main(watch: CallbackWatch) -> None:
        gc.callbacks.append(during)  # after the watch's own
        gc.collect()
        gc.callbacks.remove(during)

    found = watched(main)["main"]
    assert (found.cpu_seconds_max, found.gc_seconds) == (0.25, 0.25)


def test_what_is_left_out_is_not_counted_and_what_was_taken_is_gone(clock: Clock) -> None:
    async def main(watch: CallbackWatch) -> None:
        clock.work(9.0)
        watch.leave_out()
        await asyncio.sleep(0)
        clock.work(0.5)
        await asyncio.sleep(0)
        assert max(found.cpu_seconds_max for found in watch.taken()) == 0.5

    assert all(found.cpu_seconds_max < 0.5 for found in watched(main).values())


def test_loop_is_as_before_afterwards() -> None:
    before = asyncio.Handle._run
    with pytest.raises(RuntimeError), CallbackWatch():
        assert asyncio.Handle._run is not before
        raise RuntimeError
    assert asyncio.Handle._run is before


def test_worst_come_first_each_name_once() -> None:
    many = [
        Callback(name=f"n{index}", cpu_seconds_max=index / 100, gc_seconds=0.0, calls=2, calls_over_limit=1)
        for index in range(12)
    ]
    again = Callback(name="n3", cpu_seconds_max=0.5, gc_seconds=0.25, calls=1, calls_over_limit=0)
    found = worst([*many, again])
    assert found[0] == Callback(name="n3", cpu_seconds_max=0.5, gc_seconds=0.25, calls=3, calls_over_limit=1)
    assert [one.name for one in found[1:3]] == ["n11", "n10"]
    assert len(found) == callbacks.WORST


def test_anything_has_a_name() -> None:
    assert name_of(None) == "NoneType"
    assert name_of(len) == "len"
