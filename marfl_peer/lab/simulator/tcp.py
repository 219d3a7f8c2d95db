"""TCP between simulated hosts, as asyncio's transports show it: streams in order, back-pressure, resets, and half-open
ends.

A connection has two ends; either may be on a host that crashed without a word, and then only silence tells.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from marfl_peer.lab.simulator.faces import MachineFace

Address = tuple[str, int]

SEGMENT_BYTES = 64 * 1024
WINDOW_BYTES = 256 * 1024
"""Sent but not read yet, at most."""
DIAL_BYTES = 60


class End(asyncio.Transport):
    """One end of a connection: what the protocol holds as its transport."""

    def __init__(self, host: MachineFace, *, local: Address, remote: Address) -> None:
        super().__init__({"sockname": local, "peername": remote})
        self._host, self._process = host, host.process
        self._protocol: asyncio.BaseProtocol | None = None
        self.other: End | None = None
        self._outgoing: deque[bytes] = deque()
        self._outgoing_bytes = 0
        self._in_flight = 0
        self._incoming: deque[tuple[bytes, Any]] = deque()
        self._early: dict[int, Callable[[], None]] = {}
        self._next_sent = 0
        self._next_read = 0
        self._is_pumping = False
        self._is_reading = True
        self._is_closing = False
        self._is_over = False
        self._high, self._low = 65536, 16384
        self._is_paused = False
        self._is_held = False

    # the protocol's side

    def open(self, protocol: asyncio.BaseProtocol) -> None:
        """The connection is there; what came before is read now."""
        self._protocol = protocol
        self._host.ends.append(self)
        protocol.connection_made(self)
        self._hand_over()

    def is_closing(self) -> bool:
        return self._is_closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 65536 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return self._outgoing_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def write(self, data: Any) -> None:
        if self._is_over or not len(data):
            return
        if self._host.tap is None:
            self.queue(bytes(data))
        else:
            self._host.tap.write(self, bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        for data in list_of_data:
            self.write(data)

    def queue(self, data: bytes) -> None:
        """These bytes leave next."""
        self._outgoing.append(data)
        self._outgoing_bytes += len(data)
        if self._outgoing_bytes > self._high and not self._is_paused:
            self._is_paused = True
            cast(asyncio.Protocol, self._protocol).pause_writing()
        self._pump_soon()

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self._host.soon(self._read)

    def is_reading(self) -> bool:
        return self._is_reading

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        """Sends what is queued, then the end of the stream."""
        if not self._is_closing:
            self._is_closing = True
            self._pump_soon()

    def abort(self) -> None:
        """Drops what is queued; the other end is reset."""
        if not self._is_over:
            self._reset_other()
            self._end(None)

    # bytes out

    def _pump_soon(self) -> None:
        if not self._is_pumping and not self._is_over:
            self._is_pumping = True
            self._host.soon(self._pump)

    def hold(self, seconds: float) -> None:
        """Nothing leaves for a time."""
        self._is_held = True
        self._host.world.after(seconds, self._let_go)

    def _let_go(self) -> None:
        self._is_held = False
        self._pump_soon()

    def _pump(self) -> None:
        self._is_pumping = False
        if self._is_held:
            return
        self.flush()
        if self._is_paused and self._outgoing_bytes <= self._low:
            self._is_paused = False
            cast(asyncio.Protocol, self._protocol).resume_writing()
        if self._is_closing and not self._outgoing and not self._is_over:
            self._ship(1, self._opposite()._ended)
            self._end(None)

    def flush(self) -> None:
        """Hands what is queued to the network, as far as the window lets it."""
        while self._outgoing and self._in_flight < WINDOW_BYTES and not self._is_over:
            data = self._next_segment()
            size = len(data)
            self._outgoing_bytes -= size
            self._in_flight += size
            self._ship(size, partial(self._opposite()._arrived, data))

    def _next_segment(self) -> bytes:
        size, parts = 0, []
        while self._outgoing and size < SEGMENT_BYTES:
            part = self._outgoing.popleft()
            if size + len(part) > SEGMENT_BYTES:
                part, rest = part[: SEGMENT_BYTES - size], part[SEGMENT_BYTES - size :]
                self._outgoing.appendleft(rest)
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def _opposite(self) -> End:
        assert self.other is not None
        return self.other

    def _ship(self, size: int, event: Callable[[], None]) -> None:
        """Segments may overtake each other on the way; the other end puts them in order again."""
        number, self._next_sent = self._next_sent, self._next_sent + 1
        other = self._opposite()
        self._host.world.network.segment(self._host, other._host.address, size, partial(other._take, number, event))

    # bytes in

    def is_deserted(self) -> bool:
        """Whether nobody is at this end any more: what comes is answered by a reset, or by silence."""
        return self._is_over or not self._host.is_up or self._process is not self._host.process

    def _take(self, number: int, event: Callable[[], None]) -> None:
        if self.is_deserted():
            if self._host.is_up:
                self._reset_other()
            return
        self._early[number] = event
        self._hand_over()

    def _hand_over(self) -> None:
        while self._protocol is not None and (ready := self._early.pop(self._next_read, None)) is not None:
            self._next_read += 1
            self._host.soon(ready)

    def _arrived(self, data: bytes) -> None:
        if self._host.tap is None:
            self._incoming.append((data, None))
        else:
            self._incoming.extend(self._host.tap.cut(self, data))
        self._read()

    def _read(self) -> None:
        tap = self._host.tap
        while self._incoming and self._is_reading and not self._is_over:
            data, mark = self._incoming.popleft()
            if tap is not None and mark is not None:
                tap.reads(self, mark)
                if self._is_over:
                    return
            read = self._deliver(data)
            if read < len(data):
                self._incoming.appendleft((data[read:], mark))
            if self.other is not None:
                self.other._acknowledged(read)
            if tap is not None and mark is not None and read == len(data):
                tap.has_read(self, mark)

    def _deliver(self, data: bytes) -> int:
        """How much of it the protocol read before it paused or closed."""
        self._host.world.note_bytes(self._host, self.get_extra_info("peername"), len(data))
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            cast(asyncio.Protocol, protocol).data_received(data)
            return len(data)
        start, view = 0, memoryview(data)
        while start < len(data) and self._is_reading and not self._is_over and not self._is_closing:
            room = memoryview(protocol.get_buffer(len(data) - start)).cast("B")
            count = min(len(room), len(data) - start)
            room[:count] = view[start : start + count]
            protocol.buffer_updated(count)
            start += count
        return len(data) if self._is_over or self._is_closing else start

    def _acknowledged(self, size: int) -> None:
        self._in_flight -= size
        if self._outgoing or self._is_closing:
            self._pump_soon()

    def _ended(self) -> None:
        if not self._is_over and not cast(asyncio.Protocol, self._protocol).eof_received():
            self._is_closing = True
            self._end(None)

    # the end

    def _reset_other(self) -> None:
        other = self.other
        if other is not None and not other._is_over:
            network = self._host.world.network
            network.segment(self._host, other._host.address, DIAL_BYTES, other._was_reset)

    def _was_reset(self) -> None:
        if not self.is_deserted():
            self._host.soon(lambda: self._end(ConnectionResetError(104, "Connection reset by peer")))

    def _end(self, error: Exception | None) -> None:
        if self._is_over:
            return
        self._is_over = self._is_closing = True
        self._outgoing.clear()
        self._outgoing_bytes = 0
        if self in self._host.ends:
            self._host.ends.remove(self)
        protocol = self._protocol
        if protocol is not None:
            self._host.soon(lambda: protocol.connection_lost(error))

    def die(self, *, silently: bool) -> None:
        """The process is gone: its system sends what it was handed and resets the connection, unless the whole host
        went dark."""
        if not self._is_over:
            if not silently and self.other is not None:
                self.flush()
                self._ship(1, partial(self._opposite()._end, ConnectionResetError(104, "Connection reset by peer")))
            self._is_over = self._is_closing = True
            self._outgoing.clear()


class Listener:
    """What `create_server` gives: takes connections to a port of its host; none, if it `is_local`: nobody else's get
    to the loopback address."""

    def __init__(
        self,
        host: MachineFace,
        make_protocol: Callable[[], asyncio.BaseProtocol],
        port: int,
        *,
        is_local: bool = False,
    ) -> None:
        """Raises: OSError if the port is taken."""
        if port in host.listeners:
            raise OSError(98, "Address already in use")
        self._host, self._make_protocol, self._port = host, make_protocol, port
        self.is_local = is_local
        self.sockets = (self,)
        host.listeners[port] = self

    def getsockname(self) -> Address:
        return self._host.address, self._port

    def close(self) -> None:
        self._host.listeners.pop(self._port, None)

    async def wait_closed(self) -> None:
        return

    def accept(self, other: End, remote: Address) -> None:
        """A new connection: the server's end of it, opposite to `other`."""
        end = End(self._host, local=self.getsockname(), remote=remote)
        end.other, other.other = other, end
        end.open(self._make_protocol())


class Dial:
    """A connection attempt: there, and back with an end or a refusal; nothing comes back from the dark."""

    def __init__(self, host: MachineFace, make_protocol: Callable[[], asyncio.BaseProtocol], address: Address) -> None:
        self._host, self._make_protocol, self._address = host, make_protocol, address
        self._local = (host.address, host.next_port())
        self._end = End(host, local=self._local, remote=address)
        self.made: asyncio.Future[tuple[End, asyncio.BaseProtocol]] = host.loop().create_future()
        host.world.network.segment(host, address[0], DIAL_BYTES, self._knock)

    def give_up(self) -> None:
        self._end.abort()

    def _knock(self) -> None:
        there = self._host.world.host_at(self._address[0])
        if there is None or not there.is_up:
            return
        listener = there.listeners.get(self._address[1])
        if listener is None or listener.is_local:
            self._host.world.network.segment(there, self._host.address, DIAL_BYTES, lambda: self._back(self._refused))
        else:
            there.soon(lambda: self._accepted(there, listener))

    def _accepted(self, there: MachineFace, listener: Listener) -> None:
        listener.accept(self._end, self._local)
        self._host.world.network.segment(there, self._host.address, DIAL_BYTES, lambda: self._back(self._opened))

    def _back(self, step: Callable[[], None]) -> None:
        if self._end.is_deserted():
            self._end.abort()
        else:
            self._host.soon(step)

    def _refused(self) -> None:
        if not self.made.done():
            self.made.set_exception(ConnectionRefusedError(111, "Connection refused"))

    def _opened(self) -> None:
        if self.made.done():
            self._end.abort()
            return
        protocol = self._make_protocol()
        self._end.open(protocol)
        self.made.set_result((self._end, protocol))
