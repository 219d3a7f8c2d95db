"""The virtual event loop: asyncio's own tools on virtual time, work in threads, nothing that depends on addresses."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from worlds import play, world_of

from marfl_peer.lab.simulator.host import Host


def test_loop_sleeps_in_virtual_time() -> None:
    world = world_of(1)
    seen = []

    async def life(host: Host) -> None:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(7200)
        seen.append(asyncio.get_running_loop().time() - before)

    began = time.monotonic()
    play(world, {0: life}, deadline=10_000)
    assert seen == [pytest.approx(7200)]
    assert time.monotonic() - began < 60


def test_loop_timeout_comes_at_its_deadline() -> None:
    world = world_of(1)

    async def life(host: Host) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.get_running_loop().create_future()

    play(world, {0: life})
    assert world.time == pytest.approx(3)


def test_loop_of_a_drifting_clock_is_early() -> None:
    world = world_of(2, drift=0.01)

    async def life(host: Host) -> None:
        await asyncio.sleep(101)

    play(world, {1: life}, deadline=1000)
    assert world.time == pytest.approx(100)


def test_work_in_a_thread_takes_what_it_charges() -> None:
    world = world_of(1)
    ends = []

    async def life(host: Host) -> None:
        loop = asyncio.get_running_loop()
        pool = ThreadPoolExecutor(1)

        async def work(seconds: float) -> None:
            ends.append((await loop.run_in_executor(pool, lambda: host.charge(seconds) or seconds), world.time))

        await asyncio.gather(work(2.0), work(1.0), work(0.5))

    play(world, {0: life})
    assert [result for result, _ in ends] == [2.0, 1.0, 0.5]
    assert [at for _, at in ends] == pytest.approx([2.0, 3.0, 3.5], abs=0.01)


def test_work_that_fails_raises_where_it_is_awaited() -> None:
    world = world_of(1)

    async def life(host: Host) -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.get_running_loop().run_in_executor(None, lambda: 1 // 0)

    play(world, {0: life})


def test_tasks_and_futures_hash_by_birth() -> None:
    world = world_of(1)

    async def life(host: Host) -> None:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(20)]
        assert list(set(futures)) == futures
        assert len({loop.create_future(), loop.create_future()}) == 2

    play(world, {0: life})


def test_failure_that_nobody_took_is_kept() -> None:
    world = world_of(1)

    async def life(host: Host) -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    process = world.hosts[0].start(lambda: life(world.hosts[0]))
    world.run(until=lambda: False, deadline=5)
    failures = [*process.loop.failures]
    world.close()
    assert len(failures) == 1
    assert "ZeroDivisionError" in failures[0]


def test_names_are_not_resolved() -> None:
    world = world_of(1)

    async def life(host: Host) -> None:
        with pytest.raises(OSError):
            await asyncio.get_running_loop().getaddrinfo("example.org", 80)

    play(world, {0: life})
