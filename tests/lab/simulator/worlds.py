"""Small worlds for the tests of the simulator: hosts whose processes run a coroutine of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from marfl_peer.lab.simulator.host import Host
from marfl_peer.lab.simulator.network import LAN, Climate
from marfl_peer.lab.simulator.world import World

PORT = 9000


def world_of(hosts: int, *, seed: int = 1, climate: Climate = LAN, drift: float = 0.0) -> World:
    world = World(seed, climate=climate)
    for index in range(hosts):
        world.add_host(Path(f"/nowhere/{index}"), drift=drift if index else 0.0)
    return world


def play(
    world: World, lives: dict[int, Callable[[Host], Coroutine[Any, Any, None]]], *, deadline: float = 100.0
) -> None:
    """Runs the lives of the numbered hosts until all are over; a life that fails fails the test."""
    processes = []
    for index, life in lives.items():
        host = world.hosts[index]
        processes.append(host.start(lambda host=host, life=life: life(host)))
    world.run(
        until=lambda: all(not world.hosts[index].runs(p.loop) for index, p in zip(lives, processes, strict=True)),
        deadline=deadline,
    )
    results = [process.main for process in processes]
    failures = [failure for process in processes for failure in process.loop.failures]
    world.close()
    assert failures == []
    for main in results:
        if main is not None and main.done():
            main.result()


async def echo_server(host: Host, *, seconds: float) -> None:
    """Sends back what it gets."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)  # type: ignore[attr-defined]

    await host.loop().create_server(Echo, host.address, PORT)
    await asyncio.sleep(seconds)


class Collector(asyncio.Protocol):
    """A client that keeps what it hears; `ended` is the error that its connection ended with, None for a clean end."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(exc)

    async def has(self, count: int) -> bytes:
        while len(self.data) < count:
            self.arrived.clear()
            await self.arrived.wait()
        return bytes(self.data)
