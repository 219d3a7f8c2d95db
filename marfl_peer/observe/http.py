"""A very small HTTP/1.1 server for one peer: /metrics, /healthz and /readyz, on the peer's own event loop.

On that loop because an answer then proves that the loop runs. It knows a metrics registry and a health, reads
no request body, and bounds what a stranger can make it hold: request size, time and connections.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from types import TracebackType

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from marfl_peer.errors import ConfigError
from marfl_peer.observe.health import Health

MAX_REQUEST_BYTES = 8192
MAX_CONNECTIONS = 16
DEADLINE_S = 5.0

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


class MetricsServer:
    """Serves while it is entered. `address` is where, also if the port was 0."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        registry: CollectorRegistry,
        health: Health,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.address: tuple[str, int] = (host, port)
        self._registry = registry
        self._health = health
        self._deadline_s = deadline_s
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> MetricsServer:
        """Raises: ConfigError where the address is taken or not this machine's."""
        host, port = self.address
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=MAX_REQUEST_BYTES)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                "metrics-port", port, f"cannot be served on {host} ({reason}): choose another port"
            ) from None
        self.address = self._server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._handlers) >= MAX_CONNECTIONS:
            writer.close()
            return
        # Not a TaskGroup: connections come and go for as long as the peer lives; `__aexit__` awaits the rest.
        handler = asyncio.create_task(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                writer.write(await self._answer(reader))
                await writer.drain()
        except (TimeoutError, OSError):
            pass  # a client that is slow or gone is owed nothing
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TEXT, b"request too large\n")
        except asyncio.IncompleteReadError:
            return b""
        request, *header_lines = head.decode("latin-1").split("\r\n")
        words = request.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST, _TEXT, b"not an HTTP/1 request\n")
        if words[0] not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"only GET and HEAD\n")
        status, content_type, body = self._page(words[1].partition("?")[0], _accepted(header_lines))
        return _response(status, content_type, body, with_body=words[0] == "GET")

    def _page(self, path: str, accepted: str) -> tuple[HTTPStatus, str, bytes]:
        match path:
            case "/metrics":
                encode, content_type = choose_encoder(accepted)
                return HTTPStatus.OK, content_type, encode(self._registry)
            case "/healthz" | "/readyz":
                report = self._health.report()
                is_good = report.healthy if path == "/healthz" else report.ready
                status = HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE
                return status, _JSON, msgspec.json.encode(report) + b"\n"
        return HTTPStatus.NOT_FOUND, _TEXT, b"see /metrics, /healthz and /readyz\n"


def _accepted(header_lines: list[str]) -> str:
    """The value of the Accept header: it chooses between the text formats of Prometheus and OpenMetrics."""
    for line in header_lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "accept":
            return value.strip()
    return ""


def _response(status: HTTPStatus, content_type: str, body: bytes, *, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (body if with_body else b"")
