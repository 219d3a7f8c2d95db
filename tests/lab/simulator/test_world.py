"""Virtual time: events in one order, instants that are whole, and a digest of all that happened."""

from __future__ import annotations

import asyncio

import pytest
from worlds import play, world_of

from marfl_peer.lab.simulator.host import Host
from marfl_peer.lab.simulator.world import Noted, Standstill, World


def test_events_come_in_the_order_of_time_then_of_request() -> None:
    world = world_of(0)
    seen: list[int] = []
    for number, at in enumerate([3.0, 1.0, 1.0, 2.0]):
        world.call(at, lambda number=number: seen.append(number))  # type: ignore[misc]
    assert not world.run(until=lambda: False, deadline=10)
    assert seen == [1, 2, 3, 0]


def test_run_ends_at_its_deadline() -> None:
    world = world_of(0)
    world.call(5.0, lambda: None)
    assert not world.run(until=lambda: False, deadline=4.0)
    assert world.time == 4.0
    assert world.run(until=lambda: world.time == 5.0, deadline=10)


def test_addresses_name_hosts() -> None:
    world = world_of(3)
    assert [world.host_at(host.address) for host in world.hosts] == world.hosts
    assert world.host_at("10.9.9.9") is None


def test_digest_is_equal_for_equal_seeds_only() -> None:
    def digest(seed: int) -> str:
        world = world_of(2, seed=seed)

        async def life(host: Host) -> None:
            await asyncio.sleep(host.random.random())
            world.note(host, "woke", "up")

        play(world, {0: life, 1: life})
        return world.digest

    assert digest(1) == digest(1) != digest(2)


def test_notes_are_told_with_time_and_host() -> None:
    told: list[Noted] = []
    world = World(1, on_note=told.append)
    world.note(None, "cut", "a from b")
    assert told == [Noted(0.0, -1, "cut a from b")]
    assert str(told[0]) == "     0.000 s  network   cut a from b"


def test_world_in_which_something_spins_stands_still() -> None:
    world = world_of(0)

    def again() -> None:
        world.after(1e-9, again)

    again()
    with pytest.raises(Standstill, match=r"at 0\.000"):
        world.run(until=lambda: False, deadline=10)
