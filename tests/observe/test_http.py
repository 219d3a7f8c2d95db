from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry, Counter

from marfl_peer.errors import ConfigError
from marfl_peer.facts import PeerStopped, ViewChanged
from marfl_peer.observe.health import Health
from marfl_peer.observe.http import MAX_CONNECTIONS, MAX_REQUEST_BYTES, MetricsServer

VIEW = ViewChanged(iteration=1, digest="00", peers=4, grid=(2, 2), cell=3)


def serve(
    play: Callable[[MetricsServer], Awaitable[None]], *, health: Health | None = None, deadline_s: float = 5.0
) -> None:
    async def run() -> None:
        registry = CollectorRegistry()
        Counter("marfl_things_total", "things", registry=registry).inc(3)
        server = MetricsServer(
            "127.0.0.1", 0, registry=registry, health=health or Health(lambda: 0.0), deadline_s=deadline_s
        )
        async with asyncio.timeout(20), server:
            await play(server)

    asyncio.run(run())


async def ask(server: MetricsServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def test_metrics_are_served_in_the_text_format() -> None:
    async def play(server: MetricsServer) -> None:
        status, headers, body = parts(await ask(server, get("/metrics?x=1")))
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain")
        assert int(headers["Content-Length"]) == len(body)
        assert b"marfl_things_total 3.0" in body

    serve(play)


def test_metrics_are_served_as_openmetrics_when_asked_for() -> None:
    async def play(server: MetricsServer) -> None:
        request = get("/metrics", "ACCEPT: application/openmetrics-text; version=1.0.0")
        status, headers, body = parts(await ask(server, request))
        assert status == 200
        assert headers["Content-Type"].startswith("application/openmetrics-text")
        assert body.endswith(b"# EOF\n")

    serve(play)


def test_peer_becomes_ready_with_its_view_and_unhealthy_with_an_error() -> None:
    health = Health(lambda: 0.0)

    async def play(server: MetricsServer) -> None:
        async def statuses() -> list[int]:
            return [parts(await ask(server, get(path)))[0] for path in ("/healthz", "/readyz")]

        assert await statuses() == [200, 503]
        health(VIEW)
        assert await statuses() == [200, 200]
        _, headers, body = parts(await ask(server, get("/readyz")))
        assert headers["Content-Type"] == "application/json"
        assert json.loads(body)["grid"] == [2, 2]
        health(PeerStopped(reason="error", iteration=1, detail="disk"))
        assert await statuses() == [503, 503]

    serve(play, health=health)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/"), 404),
        (get("/metrics/../etc"), 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics SPDY/3\r\n\r\n", 400),
        (b"\xff\xfe\x00\r\n\r\n", 400),
        (b"GET /" + b"x" * 2 * MAX_REQUEST_BYTES, 431),
    ],
)
def test_odd_requests_get_an_error_status_and_the_server_goes_on(request_bytes: bytes, status: int) -> None:
    async def play(server: MetricsServer) -> None:
        assert parts(await ask(server, request_bytes))[0] == status
        assert parts(await ask(server, get("/healthz")))[0] == 200

    serve(play)


def test_head_has_no_body() -> None:
    async def play(server: MetricsServer) -> None:
        status, headers, body = parts(await ask(server, b"HEAD /healthz HTTP/1.1\r\n\r\n"))
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 0

    serve(play)


def test_request_that_comes_byte_by_byte_is_answered() -> None:
    async def play(server: MetricsServer) -> None:
        reader, writer = await asyncio.open_connection(*server.address)
        for byte in get("/healthz"):
            writer.write(bytes([byte]))
            await writer.drain()
        assert parts(await reader.read())[0] == 200
        writer.close()

    serve(play)


def test_client_that_leaves_in_mid_request_is_nothing() -> None:
    async def play(server: MetricsServer) -> None:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET /hea")
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert parts(await ask(server, get("/healthz")))[0] == 200

    serve(play)


def test_client_that_says_nothing_is_cut_at_the_deadline() -> None:
    async def play(server: MetricsServer) -> None:
        assert await ask(server, b"GET /metrics HTTP/1.1\r\n") == b""

    serve(play, deadline_s=0.05)


def test_connections_past_the_bound_are_closed() -> None:
    async def play(server: MetricsServer) -> None:
        held = [await asyncio.open_connection(*server.address) for _ in range(MAX_CONNECTIONS)]
        assert await ask(server, get("/healthz")) == b""
        for _, writer in held:
            writer.close()

    serve(play)


def test_connections_still_open_at_the_end_are_closed() -> None:
    async def run() -> None:
        server = MetricsServer("127.0.0.1", 0, registry=CollectorRegistry(), health=Health(lambda: 0.0))
        async with asyncio.timeout(20):
            async with server:
                reader, writer = await asyncio.open_connection(*server.address)
                assert parts(await ask(server, get("/healthz")))[0] == 200
            assert await reader.read() == b""
            writer.close()

    asyncio.run(run())


def test_port_in_use_is_a_config_error() -> None:
    async def play(server: MetricsServer) -> None:
        host, port = server.address
        second = MetricsServer(host, port, registry=CollectorRegistry(), health=Health(lambda: 0.0))
        with pytest.raises(ConfigError, match=f"metrics-port: {port}: cannot be served on 127.0.0.1"):
            async with second:
                pass

    serve(play)


def test_address_of_another_machine_is_a_config_error() -> None:
    async def run() -> None:
        async with MetricsServer("192.0.2.1", 0, registry=CollectorRegistry(), health=Health(lambda: 0.0)):
            pass

    with pytest.raises(ConfigError, match="metrics-port"):
        asyncio.run(run())
