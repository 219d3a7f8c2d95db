"""What a process stood still for counts against nobody: alone, and in the virtual time of a machine that is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.clock import Clock
from marfl_peer.lab.simulator.host import Host, HostClock
from marfl_peer.lab.simulator.world import World
from marfl_peer.network.waking import LOOK_S, WORTH_NOTING_S, Waking


def looked_at(*times: float) -> Waking:
    waking = Waking(Clock())
    for time in times:
        waking.looked(time)
    return waking


def test_process_that_looks_in_time_lived_all_the_time() -> None:
    waking = looked_at(*(100.0 + LOOK_S * count for count in range(20)))
    assert waking.since(100.0, 109.5) == pytest.approx(9.5)
    assert waking.ago(3.0, 109.5) == pytest.approx(106.5)


def test_process_that_nobody_looked_after_yet_lived_all_the_time() -> None:
    assert looked_at().since(0.0, 50.0) == 50.0
    assert looked_at().ago(3.0, 50.0) == 47.0


def test_stop_is_no_time_also_before_anybody_looks_again() -> None:
    waking = looked_at(100.0, 100.5)
    assert waking.since(100.0, 160.5) == pytest.approx(1.0)
    waking.looked(160.5)
    assert waking.since(100.0, 160.5) == pytest.approx(1.0)
    assert waking.ago(1.0, 160.5) == pytest.approx(100.0)


def test_part_of_a_stop_that_was_before_the_start_does_not_count_twice() -> None:
    waking = looked_at(100.0, 110.0)  # asleep from 100.5 on
    assert waking.since(105.0, 110.0) == pytest.approx(0.0)
    assert waking.since(110.0, 110.4) == pytest.approx(0.4)


def test_process_that_waits_for_its_turn_again_and_again_lives_a_part_of_the_time() -> None:
    waking = looked_at(*(100.0 + 4.0 * count for count in range(10)))
    assert waking.since(100.0, 136.0) == pytest.approx(9 * LOOK_S)
    assert waking.ago(3.0, 136.0) == pytest.approx(136.0 - 6 * 4.0)


@given(st.lists(st.floats(0.01, 30.0), min_size=1, max_size=40), st.floats(0.1, 10.0), st.floats(0.0, 20.0))
def test_that_much_time_passed_since_that_long_ago(steps: list[float], seconds: float, later: float) -> None:
    time, times = 100.0, [100.0]
    for step in steps:
        times.append(time := time + step)
    waking, now = looked_at(*times), time + later
    assert waking.since(waking.ago(seconds, now), now) == pytest.approx(seconds, abs=1e-6)
    assert waking.ago(seconds, now) <= now - seconds + 1e-9
    noted = [step - LOOK_S for step in steps if step - LOOK_S > WORTH_NOTING_S]
    lived = time - 100.0 - sum(noted)
    assert waking.since(100.0, time) == pytest.approx(lived, abs=1e-6)


def live(life: Callable[[Host], Coroutine[Any, Any, None]], *, stopped: tuple[float, float]) -> None:
    """One life on a machine that is stopped for that time."""
    world = World(1)
    host = world.add_host(Path("/nowhere/0"))
    process = host.start(lambda: life(host))
    world.call(stopped[0], host.pause)
    world.call(stopped[1], host.resume)
    assert world.run(until=lambda: host.process is None, deadline=1000.0)
    main, failures = process.main, process.loop.failures
    world.close()
    assert failures == []
    assert main is not None
    main.result()


async def look(clock: Clock, waking: Waking) -> None:
    while True:
        waking.looked(clock.now())
        await asyncio.sleep(LOOK_S)


def test_patience_is_as_long_as_the_process_lives() -> None:
    async def life(host: Host) -> None:
        clock = HostClock(host)
        waking, began = Waking(clock), clock.now()
        watch = asyncio.ensure_future(look(clock, waking))
        with pytest.raises(TimeoutError):
            async with waking.within(3.0):
                await asyncio.Event().wait()
        assert clock.now() - began == pytest.approx(3.0 + 60.0 - LOOK_S, abs=LOOK_S)
        watch.cancel()

    live(life, stopped=(1.2, 61.2))


def test_patience_ends_with_what_it_was_for() -> None:
    async def life(host: Host) -> None:
        waking = Waking(HostClock(host))
        async with waking.within(1.0):
            await asyncio.sleep(0.5)
        await asyncio.sleep(5.0)  # nothing rings any more

    live(life, stopped=(90.0, 91.0))


def test_call_comes_when_so_much_was_lived() -> None:
    called: list[float] = []

    async def life(host: Host) -> None:
        clock = HostClock(host)
        waking, began = Waking(clock), clock.now()
        watch = asyncio.ensure_future(look(clock, waking))
        waking.call_later(1.0, lambda: called.append(clock.now() - began))
        await asyncio.sleep(40.0)
        watch.cancel()

    live(life, stopped=(0.7, 30.7))
    assert called == [pytest.approx(1.0 + 30.0 - LOOK_S, abs=LOOK_S)]
