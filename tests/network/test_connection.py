"""One connection on loopback, on both event loops: frames whole and in order, back-pressure, counted bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import msgpack
import pytest

from marfl_peer.errors import LocalProtocolError, RemoteProtocolError
from marfl_peer.network import connection as connection_module
from marfl_peer.network.connection import Connection
from marfl_peer.network.traffic import Traffic
from marfl_peer.protocol.frames import frame_head
from marfl_peer.protocol.messages import (
    AnyMessage,
    Ballot,
    Fetch,
    Heartbeat,
    LineName,
    Part,
    StatePart,
    StatusReply,
    encode,
)

QUARTER = 256 * 1024


@dataclass
class End:
    """One end of a connection, and what it received."""

    traffic: Traffic = field(default_factory=Traffic)
    frames: list[tuple[AnyMessage, bytes]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    is_closed: bool = False
    on_frame: Callable[[AnyMessage], None] = lambda message: None

    def __post_init__(self) -> None:
        self.connection = Connection(
            traffic=self.traffic,
            on_frame=self._received,
            place=lambda _, length: memoryview(bytearray(length)),
            on_closed=self._closed,
        )

    def _received(self, connection: Connection, message: AnyMessage, payload: memoryview) -> None:
        self.frames.append((message, bytes(payload)))
        self.changed.set()
        self.on_frame(message)

    def _closed(self, connection: Connection, error: Exception | None) -> None:
        self.error, self.is_closed = error, True
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


async def until(condition: Callable[[], bool]) -> None:
    """Looks again at every turn of the loop; the run's own time limit ends it."""
    while not condition():  # noqa: ASYNC110 - what is awaited has no event, and is there in a turn or two
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[End, End]]:
    """Two ends that are connected."""
    loop = asyncio.get_running_loop()
    one, other = End(), End()
    server = await loop.create_server(lambda: other.connection, "127.0.0.1", 0)
    await loop.create_connection(lambda: one.connection, *server.sockets[0].getsockname())
    await until(lambda: other.connection.is_open)
    try:
        yield one, other
    finally:
        server.close()
        for end in (one, other):
            end.connection.close()
            await end.connection.closed


@contextlib.asynccontextmanager
async def raw() -> AsyncIterator[tuple[End, socket.socket]]:
    """An end, and a plain socket at the other side, which reads nothing by itself."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        end = End()
        await loop.create_connection(lambda: end.connection, *listener.getsockname())
        plain, _ = await loop.sock_accept(listener)
        plain.setblocking(False)
        try:
            yield end, plain
        finally:
            plain.close()
            end.connection.fail(ConnectionAbortedError())
            await end.connection.closed


def frame(message: AnyMessage, payload: bytes = b"") -> bytes:
    return frame_head(encode(message), len(payload)) + payload


def test_frames_arrive_whole_and_in_order(on_both_loops) -> None:
    async def main() -> None:
        async with pair() as (one, other):
            sent = [(StatePart(iteration=1, offset=n), bytes([n % 251]) * (n * 7919 % 40_000)) for n in range(100)]
            for message, payload in sent:
                one.connection.send(message, payload)
            await other.until(lambda: len(other.frames) == 100)
            assert other.frames == sent

    on_both_loops(main())


@pytest.mark.parametrize("payload", [b"", b"x" * 70_000])
def test_two_frames_go_in_one_write_and_are_counted_apart(on_both_loops, payload: bytes) -> None:
    async def main() -> None:
        async with pair() as (one, other):
            first, behind = StatePart(iteration=1, offset=0), Heartbeat()
            one.connection.send(first, payload, then=behind)
            await other.until(lambda: len(other.frames) == 2)
            assert other.frames == [(first, payload), (behind, b"")]
            assert one.traffic.sent["state"] == len(frame(first, payload))
            assert one.traffic.sent["control"] == len(frame(behind))

    on_both_loops(main())


def test_frames_cross_without_a_mutual_wait(on_both_loops) -> None:
    """Both sides send more than the sockets hold before either reads its part."""

    async def main() -> None:
        payload = b"\x07" * (QUARTER)
        async with pair() as (one, other):
            for end in (one, other):
                for n in range(60):
                    end.connection.send(StatePart(iteration=1, offset=n), payload)
            for end in (one, other):
                await end.until(lambda end=end: len(end.frames) == 60)
                assert [message.offset for message, _ in end.frames] == list(range(60))

    on_both_loops(main())


def test_payload_is_read_into_the_place_that_was_named(on_both_loops) -> None:
    async def main() -> None:
        memory = bytearray(10 * 1000)
        async with pair() as (one, other):
            other.connection.place = lambda message, length: memoryview(memory)[message.offset :][:length]
            for n in reversed(range(10)):
                one.connection.send(StatePart(iteration=1, offset=1000 * n), bytes([n]) * 1000)
            await other.until(lambda: len(other.frames) == 10)
        assert memory == b"".join(bytes([n]) * 1000 for n in range(10))

    on_both_loops(main())


def test_bytes_fed_one_at_a_time_make_the_same_frames(on_both_loops) -> None:
    async def main() -> None:
        async with pair() as (_, end):
            sent = [(Heartbeat(), b""), (StatusReply(), b"payload"), (Heartbeat(), b"")]
            for byte in b"".join(frame(message, payload) for message, payload in sent):
                end.connection.get_buffer(-1)[0] = byte
                end.connection.buffer_updated(1)
            assert end.frames == sent

    on_both_loops(main())


def test_what_is_sent_is_readable_with_any_msgpack_reader(on_both_loops) -> None:
    async def main() -> None:
        async with raw() as (end, plain):
            end.connection.send(StatusReply(), b"payload")
            text = await asyncio.get_running_loop().sock_recv(plain, 4096)
        assert msgpack.unpackb(text)[-1] == b"payload"

    on_both_loops(main())


def test_bytes_counted_by_kind_are_what_the_other_side_received(on_both_loops) -> None:
    async def main() -> None:
        name, ballot = LineName(iteration=1, round=1, line=0), Ballot(attempt=1, leader="a" * 40)
        async with pair() as (one, other):
            one.connection.send(Part(name=name, ballot=ballot, stage="scatter", offset=0), b"x" * 200_000)
            one.connection.send(Fetch(name=name, ballot=ballot))
            one.connection.send(StatePart(iteration=1, offset=0), b"y" * 1000)
            await other.until(lambda: len(other.frames) == 3)
            assert sum(one.traffic.sent.values()) == other.traffic.received_bytes
            assert one.traffic.sent["tensor"] - 200_000 < 200
            assert one.traffic.sent["state"] - 1000 < 200
            assert 0 < one.traffic.sent["control"] < 200
            assert one.traffic.received_bytes == 0

    on_both_loops(main())


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "bad_frame"),
        (b"\x93\xcd\xff\xff", "oversized_frame"),
        (b"\x93\xcd\x00\x01\xc0\xc6\x7f\xff\xff\xff", "oversized_frame"),
        (b"\x93\xcd\x00\x01\xc0\xc6\x00\x00\x00\x00", "bad_message"),
        (b"\x93\xcd\x00\x01\xc0\x00\x00\x00\x00\x00", "bad_frame"),
    ],
)
def test_bytes_that_are_no_frame_end_the_connection(on_both_loops, garbage: bytes, code: str) -> None:
    async def main() -> None:
        async with raw() as (end, plain):
            await asyncio.get_running_loop().sock_sendall(plain, frame(Heartbeat()) + garbage)
            await end.until(lambda: end.is_closed)
            assert isinstance(end.error, RemoteProtocolError)
            assert end.error.code == code
            assert end.connection.failure is end.error
            assert [message for message, _ in end.frames] == [Heartbeat()]

    on_both_loops(main())


def test_truncated_frame_is_never_delivered(on_both_loops) -> None:
    async def main() -> None:
        async with raw() as (end, plain):
            await asyncio.get_running_loop().sock_sendall(plain, frame(StatusReply(), b"x" * 100_000)[:-1])
            plain.close()
            await end.until(lambda: end.is_closed)
            assert end.frames == []
            assert end.connection.failure is None

    on_both_loops(main())


def test_error_of_a_receiver_ends_the_connection_and_is_told(on_both_loops) -> None:
    async def main() -> None:
        def refuse(message: AnyMessage) -> None:
            raise RemoteProtocolError("bad_span", "not awaited")

        async with pair() as (one, other):
            other.on_frame = refuse
            one.connection.send(Heartbeat())
            one.connection.send(Heartbeat())
            await other.until(lambda: other.is_closed)
            assert isinstance(other.error, RemoteProtocolError)
            assert len(other.frames) == 1
            await one.until(lambda: one.is_closed)
            assert not isinstance(one.error, RemoteProtocolError)

    on_both_loops(main())


def test_place_of_the_wrong_length_is_this_programs_own_error(on_both_loops) -> None:
    async def main() -> None:
        async with pair() as (one, other):
            other.connection.place = lambda _, length: memoryview(bytearray(length + 1))
            one.connection.send(StatusReply(), b"12")
            await other.until(lambda: other.is_closed)
            assert isinstance(other.error, LocalProtocolError)

    on_both_loops(main())


def test_drained_waits_for_a_slow_reader(on_both_loops) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        payload = b"\x01" * (4 * QUARTER)
        async with raw() as (end, plain):
            sent = 0
            waiting = asyncio.ensure_future(end.connection.drained())
            while (await asyncio.wait([waiting], timeout=0.05))[0]:
                end.connection.send(StatePart(iteration=1, offset=0), payload)
                sent += len(payload)
                waiting = asyncio.ensure_future(end.connection.drained())
            assert sent < 64 * 1024 * 1024, "a reader that does not read must hold the sender up"
            while not waiting.done():
                await loop.sock_recv(plain, 1 << 20)
            assert await waiting is True

    on_both_loops(main())


def test_drained_on_a_connection_that_ends_says_so(on_both_loops) -> None:
    async def main() -> None:
        async with raw() as (end, plain):
            end.connection.pause_writing()
            waiting = asyncio.ensure_future(end.connection.drained())
            await asyncio.sleep(0)
            assert not waiting.done()
            plain.close()
            assert await waiting is False

    on_both_loops(main())


def test_peer_that_never_reads_is_dropped(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "MAX_BACKLOG_BYTES", 2 * 1024 * 1024)

    async def main() -> None:
        async with raw() as (end, _):
            payload = b"\x01" * (4 * QUARTER)
            for n in range(400):
                end.connection.send(StatePart(iteration=1, offset=n), payload)
            await end.until(lambda: end.is_closed)
            assert isinstance(end.error, RemoteProtocolError)
            assert end.error.code == "not_reading"

    on_both_loops(main())


def test_close_sends_what_is_queued_first(on_both_loops) -> None:
    async def main() -> None:
        async with pair() as (one, other):
            for n in range(40):
                one.connection.send(StatePart(iteration=1, offset=n), b"\x02" * (QUARTER))
            one.connection.close()
            await other.until(lambda: other.is_closed)
            assert [message.offset for message, _ in other.frames] == list(range(40))

    on_both_loops(main())


def test_send_on_a_closed_connection_does_nothing(on_both_loops) -> None:
    async def main() -> None:
        async with pair() as (one, _):
            one.connection.close()
            one.connection.send(Heartbeat())
            assert sum(one.traffic.sent.values()) == 0
            assert not one.connection.is_open

    on_both_loops(main())


def test_send_before_there_is_a_connection_does_nothing(on_loop) -> None:
    async def main() -> None:
        end = End()
        end.connection.send(Heartbeat())
        end.connection.close()
        end.connection.fail(ConnectionAbortedError())
        assert sum(end.traffic.sent.values()) == 0
        assert end.connection.remote == "unknown"

    on_loop(main())


def test_remote_is_known_also_after_the_end(on_both_loops) -> None:
    async def main() -> None:
        async with raw() as (end, plain):
            host, port = plain.getsockname()
            assert end.connection.remote == f"{host}:{port}"
            plain.close()
            await end.until(lambda: end.is_closed)
            assert end.connection.remote == f"{host}:{port}"

    on_both_loops(main())


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        (("127.0.0.1", 4), ("127.0.0.1", 5), True),
        (("10.0.0.1", 4), ("10.0.0.2", 4), False),
        (("::1", 4, 0, 0), ("::1", 5, 0, 0), True),
        (None, ("127.0.0.1", 5), False),
        (("127.0.0.1", 4), None, False),
    ],
)
def test_other_end_is_local_where_both_have_one_address(on_loop, own: object, other: object, expected: bool) -> None:
    class Transport(asyncio.Transport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return {"sockname": own, "peername": other}.get(name)

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    async def main() -> None:
        end = End()
        assert not end.connection.is_local
        end.connection.connection_made(Transport())
        assert end.connection.is_local is expected

    on_loop(main())
