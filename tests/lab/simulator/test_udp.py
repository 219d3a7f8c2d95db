"""Datagrams between simulated hosts: delivered, lost, doubled, never to a port that nobody holds."""

from __future__ import annotations

import asyncio

import pytest
from worlds import PORT, play, world_of

from marfl_peer.lab.simulator.host import Host
from marfl_peer.lab.simulator.network import Climate


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, heard: list[bytes]) -> None:
        self.heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)


def _heard(climate: Climate, count: int) -> list[bytes]:
    world = world_of(2, climate=climate)
    heard: list[bytes] = []

    async def ear(host: Host) -> None:
        await host.loop().create_datagram_endpoint(lambda: _Ear(heard), local_addr=(host.address, PORT))
        await asyncio.sleep(30)

    async def mouth(host: Host) -> None:
        await asyncio.sleep(1)
        transport, _ = await host.loop().create_datagram_endpoint(lambda: _Ear([]), local_addr=(host.address, PORT))
        for number in range(count):
            transport.sendto(number.to_bytes(2, "big"), (world.hosts[0].address, PORT))
            transport.sendto(b"nobody", (world.hosts[0].address, PORT + 1))
        await asyncio.sleep(1)
        transport.close()
        transport.sendto(b"too late", (world.hosts[0].address, PORT))

    play(world, {0: ear, 1: mouth})
    return heard


def test_datagrams_arrive() -> None:
    assert sorted(_heard(Climate(), 50)) == [number.to_bytes(2, "big") for number in range(50)]


def test_datagrams_overtake_each_other() -> None:
    heard = _heard(Climate(jitter_s=0.1), 50)
    assert heard != sorted(heard)


def test_datagrams_are_lost_and_doubled() -> None:
    heard = _heard(Climate(loss=0.3, duplication=0.2), 400)
    assert 200 < len(set(heard)) < 340
    assert len(heard) > len(set(heard))


def test_datagram_port_is_taken_once() -> None:
    world = world_of(1)

    async def life(host: Host) -> None:
        await host.loop().create_datagram_endpoint(lambda: _Ear([]), local_addr=(host.address, PORT))
        with pytest.raises(OSError):
            await host.loop().create_datagram_endpoint(lambda: _Ear([]), local_addr=(host.address, PORT))

    play(world, {0: life})
