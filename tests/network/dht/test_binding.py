import asyncio
import socket

import pytest

from marfl_peer.clock import Deadline
from marfl_peer.errors import ConfigError
from marfl_peer.network.dht.binding import bind, resolve


def soon():
    return Deadline(asyncio.get_running_loop().time() + 5.0)


def test_bind_any_free_port(run):
    async def go():
        loop = asyncio.get_running_loop()
        gone = loop.create_future()

        class Listener(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def connection_lost(self, error):
                gone.set_result(None)

        protocol = await bind(Listener, "127.0.0.1", 0, deadline=soon())
        port = protocol.transport.get_extra_info("sockname")[1]
        protocol.transport.close()
        await gone
        return port

    assert run(go()) > 0


def test_bind_port_in_use(run):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        async def go():
            await bind(asyncio.DatagramProtocol, "127.0.0.1", port, deadline=soon())

        with pytest.raises(ConfigError, match=f"port: {port}: UDP port is in use"):
            run(go())


def test_bind_address_of_somebody_else(run):
    async def go():
        await bind(asyncio.DatagramProtocol, "203.0.113.7", 0, deadline=soon())

    with pytest.raises(ConfigError, match="is not an address of this machine"):
        run(go())


def test_bind_name_that_nobody_knows(run, monkeypatch):
    async def go():
        async def unknown(*arguments, **named):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        await bind(asyncio.DatagramProtocol, "nowhere.invalid", 0, deadline=soon())

    with pytest.raises(ConfigError, match="is not known here"):
        run(go())


def test_resolve_numbers_without_asking_anybody(run, monkeypatch):
    async def go():
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", None)
        return [await resolve(host, 1, ip_version=4, deadline=soon()) for host in ("10.0.0.1", "::1")]

    assert run(go()) == ["10.0.0.1", "::1"]


def test_resolve_name(run):
    async def go():
        return await resolve("localhost", 1, ip_version=4, deadline=soon())

    assert run(go()) == "127.0.0.1"


def test_resolve_name_that_nobody_knows_or_that_takes_too_long(run, monkeypatch):
    async def go():
        loop = asyncio.get_running_loop()

        async def unknown(*arguments, **named):
            raise socket.gaierror(-2, "Name or service not known")

        async def slow(*arguments, **named):
            await asyncio.Event().wait()

        monkeypatch.setattr(loop, "getaddrinfo", unknown)
        first = await resolve("nowhere.invalid", 1, ip_version=4, deadline=soon())
        monkeypatch.setattr(loop, "getaddrinfo", slow)
        second = await resolve("slow.invalid", 1, ip_version=6, deadline=Deadline(loop.time() + 0.01))
        return first, second

    assert run(go()) == (None, None)
