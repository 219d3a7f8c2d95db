"""One TCP connection: frames in and out, payloads read straight into the memory that their receiver names.

Knows bytes and frames, no peer's name and no meaning of a message. asyncio's BufferedProtocol; works on uvloop and
on plain asyncio.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any, cast

from marfl_peer.errors import MarflError, RemoteProtocolError
from marfl_peer.network.neighbours import Neighbour, neighbour_of
from marfl_peer.network.tcp_info import TcpCounters, counters_of, shortest_round_trip_s
from marfl_peer.network.traffic import Traffic
from marfl_peer.protocol.deadlines import HEARTBEAT_S
from marfl_peer.protocol.frames import FrameDecoder, Room, frame_head
from marfl_peer.protocol.messages import AnyMessage, Message, decode, encode

HIGH_WATER_BYTES = 1024 * 1024
MAX_BACKLOG_BYTES = 32 * 1024 * 1024
"""A peer that lets this much pile up does not read: its connection is closed."""

NEAR_S = 0.001
NEAR_SEND_BUFFER_BYTES = 512 * 1024
"""Enough for 2 Gbit/s at that distance."""
NEIGHBOUR_SEND_BUFFER_BYTES = 4 * 1024 * 1024
"""By a Unix socket nobody acknowledges: the longer one end can go on, the less often both are woken up. A frame fits
in; what the system grants may be less."""

OnFrame = Callable[["Connection", AnyMessage, memoryview], None]
Place = Callable[[AnyMessage, int], memoryview | Room]
OnClosed = Callable[["Connection", Exception | None], None]


class Connection(asyncio.BufferedProtocol):
    """The callbacks may be exchanged after the handshake; they must not block. A RemoteProtocolError that one of
    them raises closes the connection and is handed to `on_closed`."""

    def __init__(self, *, traffic: Traffic, on_frame: OnFrame, place: Place, on_closed: OnClosed) -> None:
        self.on_frame, self.on_closed = on_frame, on_closed
        self.last_heard = 0.0
        self.last_sent = 0.0
        self.own_beat_s = HEARTBEAT_S
        """How often the other end was told that it would hear something."""
        self.their_beat_s = HEARTBEAT_S
        """How often the other end said that it would say something."""
        self._traffic = traffic
        self.remote = "unknown"
        """HOST:PORT of the other end, or what process it is where it came by a Unix socket."""
        self._neighbour: Neighbour | None = None
        self.is_near = False
        """Whether the path to there is known to be short."""
        self.is_local = False
        """Whether the other end is on this machine, where no link but the processor is the limit."""
        self._transport: asyncio.Transport | None = None
        self._socket: Any = None
        """The transport's, for what it has no words for; None where it has none, and when it is closed."""
        self._decoder = FrameDecoder[AnyMessage](decode, place)
        self.get_buffer = self._decoder.get_buffer  # type: ignore[method-assign]  # is called for every read
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: list[Callable[[], object]] = []
        self._failure: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio.Transport, only alike.
        self._transport = tcp = cast(asyncio.Transport, transport)
        self.last_heard = self.last_sent = self._loop.time()
        name = tcp.get_extra_info("peername")
        if isinstance(name, tuple) and len(name) >= 2:
            self.remote = f"{name[0]}:{name[1]}"
            own = tcp.get_extra_info("sockname")
            self.is_local = isinstance(own, tuple) and own[0] == name[0]
        tcp.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        raw = self._socket = tcp.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._neighbour = there = neighbour_of(raw)
        if there is not None:
            self.remote, self.is_local = f"process {there.pid} of this machine", True

    def buffer_updated(self, nbytes: int) -> None:
        self.last_heard = self._loop.time()
        self._traffic.received_bytes += nbytes
        try:
            frames = self._decoder.received(nbytes)
        except MarflError as error:
            self.fail(error)
        else:
            if frames:
                self.hear(frames)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            self._loop.call_soon(callback)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._waiting.clear()
        self._transport = self._socket = None
        if not self.closed.done():
            self.closed.set_result(None)
        self.on_closed(self, self._failure or exc)

    # our side

    @property
    def place(self) -> Place:
        """Names the memory that a payload is read into."""
        return self._decoder.place

    @place.setter
    def place(self, place: Place) -> None:
        self._decoder.place = place

    @property
    def failure(self) -> Exception | None:
        """Why it was dropped from this side, if it was."""
        return self._failure

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def counters(self) -> TcpCounters | None:
        """What the kernel counted of it; None where that is not known."""
        return counters_of(self._socket) if self._neighbour is None and self.is_open else None

    def hear(self, frames: Iterable[tuple[AnyMessage, memoryview]]) -> None:
        """Hands frames to `on_frame`; one that breaks the rules ends the connection."""
        try:
            for message, payload in frames:
                self.on_frame(self, message, payload)
        except MarflError as error:
            self.fail(error)

    def send(self, message: Message, *payload: bytes | memoryview, then: Message | None = None) -> None:
        """Queues a frame, whose payload may lie in several places, and one of `then`, which has none, right behind it;
        does nothing on a closed connection, whose end is told by `on_closed`."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        payload_bytes = sum(map(len, payload))
        head = frame_head(encode(message), payload_bytes)
        self._traffic.wrote(message, len(head) + payload_bytes)
        pieces = [head, *payload] if payload_bytes else [head]
        if then is not None:
            tail = frame_head(encode(then))
            self._traffic.wrote(then, len(tail))
            pieces.append(tail)
        if len(pieces) > 1:
            transport.writelines(pieces)  # in one go: what is sent by itself wakes the other end up by itself
        else:
            transport.write(head)
        self.last_sent = self._loop.time()
        if transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
            self.fail(RemoteProtocolError("not_reading", "it does not read what it is sent"))

    def fit_to_path(self) -> None:
        """Lets no more pile up in the kernel than a near path can hold: what is on its way stays in the processor's
        caches, which saves a sixth of an exchange. A path that is not near is the kernel's to judge."""
        raw = self._socket if self.is_open else None
        round_trip_s = 0.0 if self._neighbour is not None else shortest_round_trip_s(raw)
        self.is_near = round_trip_s is not None and round_trip_s <= NEAR_S
        if raw is not None and self.is_near:
            room = NEAR_SEND_BUFFER_BYTES if self._neighbour is None else NEIGHBOUR_SEND_BUFFER_BYTES
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)

    def pause_reading(self) -> None:
        """Leaves what comes next in the socket; what was read already is still handed on."""
        if self._transport is not None and self.is_open:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and self.is_open:
            self._transport.resume_reading()

    @property
    def is_writable(self) -> bool:
        """Whether more may be sent at once."""
        return self._writable.is_set() and self.is_open

    def when_writable(self, callback: Callable[[], object]) -> None:
        """Calls it once when more may be sent than now; never, if the connection closes before."""
        self._waiting.append(callback)

    async def drained(self) -> bool:
        """Waits until more may be sent; False where the connection is closed."""
        await self._writable.wait()
        return self.is_open

    def fail(self, error: Exception) -> None:
        """Drops the connection; what is queued is lost."""
        self._failure = self._failure or error
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Closes it after what is queued was sent."""
        if self._transport is not None:
            self._transport.close()
