"""Streams between simulated hosts: order, back-pressure, refusals, resets, and the silence of a dark host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from worlds import PORT, Collector, echo_server, play, world_of

from marfl_peer.lab.simulator.host import Host
from marfl_peer.lab.simulator.network import Climate
from marfl_peer.lab.simulator.world import World


async def _dial(world: World) -> Collector:
    address = world.hosts[0].address
    transport, protocol = await asyncio.get_running_loop().create_connection(Collector, address, PORT)
    protocol.transport = transport
    return protocol


def test_stream_arrives_in_order_over_a_network_that_loses_and_reorders() -> None:
    world = world_of(2, climate=Climate(latency_s=0.02, jitter_s=0.05, loss=0.2, bytes_per_s=1e6))
    message = bytes(range(256)) * 2000

    async def client(_: Host) -> None:
        await asyncio.sleep(0.1)
        end = await _dial(world)
        for start in range(0, len(message), 10_000):
            end.transport.write(message[start : start + 10_000])
            await asyncio.sleep(0.001)
        assert await end.has(len(message)) == message
        end.transport.close()

    play(world, {0: lambda host: echo_server(host, seconds=60), 1: client})
    assert world.time > len(message) / 1e6


def test_buffered_protocol_is_read_into_its_own_memory() -> None:
    world = world_of(2)
    got = bytearray(10)

    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.count = 0
            self.full = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> memoryview:
            return memoryview(got)[self.count : self.count + 3]

        def buffer_updated(self, nbytes: int) -> None:
            self.count += nbytes
            if self.count == 10:
                self.full.set_result(None)

    async def client(_: Host) -> None:
        await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Buffered, world.hosts[0].address, PORT)
        transport.write(b"0123456789")
        await protocol.full
        transport.abort()

    play(world, {0: lambda host: echo_server(host, seconds=5), 1: client})
    assert bytes(got) == b"0123456789"


def test_writer_is_paused_while_the_reader_does_not_read() -> None:
    world = world_of(2)
    seen: list[str] = []

    class Deaf(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.pause_reading()  # type: ignore[attr-defined]
            asyncio.get_running_loop().call_later(5, transport.resume_reading)  # type: ignore[attr-defined]

    class Writer(asyncio.Protocol):
        def pause_writing(self) -> None:
            seen.append("paused")

        def resume_writing(self) -> None:
            seen.append(f"resumed {world.time > 5}")

    async def server(host: Host) -> None:
        await host.loop().create_server(Deaf, host.address, PORT)
        await asyncio.sleep(20)

    async def client(_: Host) -> None:
        await asyncio.sleep(0.1)
        transport, _ = await asyncio.get_running_loop().create_connection(Writer, world.hosts[0].address, PORT)
        transport.write(bytes(2_000_000))
        await asyncio.sleep(3)
        assert transport.get_write_buffer_size() > 1_000_000
        await asyncio.sleep(10)
        assert transport.get_write_buffer_size() == 0

    play(world, {0: server, 1: client})
    assert seen == ["paused", "resumed True"]


def test_dial_is_refused_where_nobody_listens_and_unanswered_in_the_dark() -> None:
    world = world_of(3)

    async def client(_: Host) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(Collector, world.hosts[0].address, PORT)
        world.hosts[2].is_up = False
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await loop.create_connection(Collector, world.hosts[2].address, PORT)

    play(world, {1: client})


@pytest.mark.parametrize(("silently", "told"), [(False, True), (True, False)])
def test_killed_process_resets_but_a_dark_host_is_silent(silently: bool, told: bool) -> None:
    world = world_of(2)

    async def client(_: Host) -> None:
        await asyncio.sleep(0.1)
        end = await _dial(world)
        world.call(1.0, lambda: world.hosts[0].crash(silently=silently))
        if told:
            assert isinstance(await end.ended, ConnectionResetError)
        else:
            await asyncio.sleep(10)
            end.transport.write(b"anybody there?")
            await asyncio.sleep(10)
            assert not end.ended.done()

    play(world, {0: lambda host: echo_server(host, seconds=60), 1: client})


def test_half_open_connection_is_reset_once_the_host_is_back(tmp_path: Path) -> None:
    world = world_of(2)
    world.hosts[0].disk = tmp_path / "disk"
    world.hosts[0].disk.mkdir()

    async def client(_: Host) -> None:
        await asyncio.sleep(0.1)
        end = await _dial(world)
        world.call(1.0, lambda: world.hosts[0].crash(silently=True))
        world.call(5.0, lambda: world.hosts[0].start(lambda: echo_server(world.hosts[0], seconds=20)))
        await asyncio.sleep(10)
        end.transport.write(b"anybody there?")
        assert isinstance(await end.ended, ConnectionResetError)

    play(world, {0: lambda host: echo_server(host, seconds=60), 1: client})


def test_close_sends_what_is_queued_first() -> None:
    world = world_of(2)

    class Speaker(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.write(bytes(500_000))  # type: ignore[attr-defined]
            transport.close()

    async def server(host: Host) -> None:
        await host.loop().create_server(Speaker, host.address, PORT)
        await asyncio.sleep(20)

    async def client(_: Host) -> None:
        await asyncio.sleep(0.1)
        end = await _dial(world)
        assert await end.ended is None
        assert len(end.data) == 500_000

    play(world, {0: server, 1: client})


def test_cut_connection_goes_on_after_it_is_mended() -> None:
    world = world_of(2)
    one, other = [world.hosts[0].address], [world.hosts[1].address]

    async def client(_: Host) -> None:
        await asyncio.sleep(0.1)
        end = await _dial(world)
        world.network.cut(one, other)
        end.transport.write(b"hello")
        await asyncio.sleep(5)
        assert not end.data
        world.network.mend(one, other)
        assert await end.has(5) == b"hello"

    play(world, {0: lambda host: echo_server(host, seconds=60), 1: client})


def test_port_is_taken_once() -> None:
    world = world_of(1)

    async def life(host: Host) -> None:
        await host.loop().create_server(Collector, host.address, PORT)
        with pytest.raises(OSError):
            await host.loop().create_server(Collector, host.address, PORT)

    play(world, {0: life})


def test_nobody_else_gets_to_a_loopback_address() -> None:
    world = world_of(2)
    refused: list[bool] = []

    async def server(_: Host) -> None:
        await asyncio.get_running_loop().create_server(Collector, "127.0.0.1", PORT)
        await asyncio.sleep(1.0)

    async def client(_: Host) -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            await _dial(world)
        refused.append(True)

    play(world, {0: server, 1: client})
    assert refused
