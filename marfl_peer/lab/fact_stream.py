"""How facts get from N processes to the launcher: one Unix stream socket, a hello line, then one JSON line a
fact.

The sender never makes its peer wait; the server hands every fact to one sink together with the index of its
peer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from marfl_peer.clock import Deadline
from marfl_peer.facts import AnyFact, Fact, decode_fact, encode_fact

MAX_UNSENT_BYTES = 8 << 20
MAX_LINE_BYTES = 1 << 20
DRAIN_S = 5.0

logger = logging.getLogger(__name__)
IndexedSink = Callable[[int, AnyFact], None]


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of every stream."""

    index: int


class FactSender:
    """A sink that streams facts to the launcher from the running loop. `dropped` counts what found no room.

    Use as an async context manager around the peer: leaving it writes out what is left, within DRAIN_S.
    Raises: OSError on entering when nobody listens at the path.
    """

    def __init__(self, path: str, index: int, *, max_unsent_bytes: int = MAX_UNSENT_BYTES) -> None:
        self._path = path
        self._index = index
        self._max_unsent_bytes = max_unsent_bytes
        self._writer: asyncio.StreamWriter | None = None
        self.dropped = 0

    async def __aenter__(self) -> Self:
        _, self._writer = await asyncio.open_unix_connection(self._path)
        self._writer.write(msgspec.json.encode(Hello(index=self._index)) + b"\n")
        return self

    def __call__(self, fact: Fact) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            self.dropped += 1  # before the connection or after its loss
        elif writer.transport.get_write_buffer_size() > self._max_unsent_bytes:
            self.dropped += 1
        else:
            writer.write(encode_fact(fact) + b"\n")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()  # the launcher is gone or stuck: that must not hold up the peer
        if self.dropped:
            logger.warning("%d facts could not be streamed to the launcher", self.dropped)


class FactServer:
    """Listens at a Unix socket path and hands on (index, fact) in the order in which each peer sent them.

    `connected` counts the streams so far, `damaged` those that were given up for a line that is no fact.
    """

    def __init__(self, path: Path, sink: IndexedSink) -> None:
        self._path = path
        self._sink = sink
        self._server: asyncio.Server | None = None
        self._readers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.connected = 0
        self.damaged = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accept, self._path, limit=MAX_LINE_BYTES)
        return self

    async def drained(self, deadline: Deadline) -> bool:
        """Waits until every connected stream has ended. False when the deadline came first."""
        if self._readers:
            timeout_s = max(0.0, deadline - asyncio.get_running_loop().time())
            _, pending = await asyncio.wait(self._readers, timeout=timeout_s)
            return not pending
        return True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        readers = dict(self._readers)
        for reader, writer in readers.items():
            reader.cancel()
            writer.transport.abort()  # a reader that was cancelled before its first step closes nothing
        await asyncio.gather(*readers, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in readers.values()), return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        task = asyncio.get_running_loop().create_task(self._read(reader, writer))
        self._readers[task] = writer
        task.add_done_callback(lambda done: self._readers.pop(done, None))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            index = msgspec.json.decode(await reader.readline(), type=Hello).index
            while line := await reader.readline():
                self._sink(index, decode_fact(line))
        except ConnectionError:
            pass  # a killed peer: what it sent until then counts
        except (
            msgspec.DecodeError,
            ValueError,
        ):  # a torn last line of a killed peer, or one that is too long
            self.damaged += 1
        finally:
            writer.close()
