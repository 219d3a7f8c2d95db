"""A machine's life: start, end, crash, pause, start again; what was due in the meantime."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from worlds import play, world_of

from marfl_peer.lab.simulator.host import EPOCH, Host, HostClock
from marfl_peer.lab.simulator.world import World


def test_crash_runs_no_finally() -> None:
    world = world_of(1)
    host = world.hosts[0]
    seen: list[str] = []

    async def life() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            seen.append("cleaned up")

    host.start(life)
    world.call(5.0, host.crash)
    world.run(until=lambda: host.process is None, deadline=20)
    assert (seen, host.crashes, world.time) == ([], 1, 5.0)
    world.close()


def test_paused_process_does_late_what_was_due() -> None:
    world = world_of(1)
    host = world.hosts[0]
    woke: list[float] = []

    async def life(_: Host) -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            woke.append(world.time)

    world.call(1.5, host.pause)
    world.call(9.0, host.resume)
    play(world, {0: life})
    assert woke == pytest.approx([1.0, 9.0, 10.0])


def test_process_can_be_started_again_with_its_disk(tmp_path: Path) -> None:
    world = world_of(1)
    host = world.hosts[0]
    host.disk = tmp_path / "disk"
    lives: list[float] = []

    async def life() -> None:
        lives.append(world.time)
        await asyncio.sleep(10)

    host.start(life)
    host.disk.mkdir()
    (host.disk / "kept").write_text("yes")
    world.call(2.0, host.crash)
    world.call(4.0, lambda: host.start(life))
    world.run(until=lambda: host.process is None and len(lives) == 2, deadline=100)
    assert (lives, world.time) == ([0.0, 4.0], 14.0)
    assert (host.disk / "kept").read_text() == "yes"
    world.close()


def test_clock_of_a_host_tells_drifting_wall_time() -> None:
    world = world_of(2, drift=0.5)
    world.run(until=lambda: False, deadline=100)
    assert HostClock(world.hosts[0]).wall() == pytest.approx(EPOCH + 100, abs=1.0)
    assert HostClock(world.hosts[1]).wall() == pytest.approx(EPOCH + 150, abs=1.0)


def test_entropy_follows_from_the_seed() -> None:
    one, same, other = world_of(1, seed=5), world_of(1, seed=5), world_of(1, seed=6)
    drawn = [world.hosts[0].entropy(16) for world in (one, same, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_timer_never_comes_before_its_time_on_the_hosts_own_clock() -> None:
    rng = random.Random(1)
    for number in range(300):
        world = World(number)
        host = world.add_host(Path("unused"), drift=rng.uniform(-1e-4, 1e-4))
        world.time = rng.uniform(0.0, 1e4)
        when = host.now() + rng.uniform(0.0, 20.0)
        world.time = host.world_time(when)
        assert when <= host.now() <= when + 1e-9
        world.close()
