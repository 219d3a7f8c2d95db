"""The pool of connections to other peers, one for each that is spoken to: dialled when needed, kept, watched.

Of two connections to one peer, that dialled by the lower id carries what is sent; the other is read until it closes.
A connection that broke, or was silent for three heartbeats, is dialled again; a peer that does not answer is lost.
Knows who is at the other end, not what is said.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from marfl_peer.clock import Clock
from marfl_peer.errors import ConfigError, MarflError, RemoteProtocolError
from marfl_peer.facts import ConnectionRefused, LoopLagged, RemoteFault, Sink
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.handshake import Doorman, Guest, Inbox, Refused
from marfl_peer.network.tasks import Tasks
from marfl_peer.network.traffic import Traffic
from marfl_peer.protocol.deadlines import DIAL_S, HANDSHAKE_S, HEARTBEAT_S, silence_s
from marfl_peer.protocol.frames import frame_head
from marfl_peer.protocol.messages import AnyMessage, Goodbye, Heartbeat, Message, Refusal, encode

MAX_STRANGERS = 256
"""Connections that have not shown who they are yet."""
MAX_QUEUED = 4096
"""Messages that wait for a connection to one peer."""
MAX_GUESTS = 64
"""Observers that ask something."""
GUEST_S = 30.0
"""An observer that asks nothing for so long is sent away."""
DIAL_ATTEMPTS = 2
"""A host under load may miss one; a refusal is final at once."""
NO_ANSWER = "does not answer"
POLITE_S = 0.2
"""The higher id lets the lower one dial first."""
LAG_WORTH_TELLING_S = 0.1
_LAG_MEMORY = 0.9


class Listener(Protocol):
    """Who is told what happens on the links. Calls come on the event loop and must return at once."""

    def heard(self, peer: PeerId, message: AnyMessage, payload: memoryview) -> None: ...

    def room(self, peer: PeerId, message: AnyMessage, length: int) -> memoryview: ...

    def asked(self, connection: Connection, message: AnyMessage) -> None: ...

    def up(self, peer: PeerId) -> None: ...

    def down(self, peer: PeerId) -> None: ...

    def lost(self, peer: PeerId, reason: str) -> None: ...


@dataclass(slots=True)
class Link:
    """What the pool knows of one peer."""

    address: tuple[str, int] | None = None
    best: Connection | None = None
    others: list[Connection] = field(default_factory=list)
    queue: deque[tuple[Message, bytes]] = field(default_factory=deque)
    dialling: asyncio.Task[None] | None = None
    said_goodbye: bool = False

    def connections(self) -> list[Connection]:
        return [connection for connection in (self.best, *self.others) if connection is not None]


class Links:
    """Async context manager; `listen` before anything else."""

    def __init__(
        self,
        *,
        me: PeerId,
        doorman: Doorman,
        listener: Listener,
        traffic: Traffic,
        tell: Sink,
        clock: Clock,
        nonce: Callable[[], bytes],
    ) -> None:
        self.me = me
        self.doorman = doorman
        self.traffic = traffic
        self.lag_s = 0.0
        self._listener, self._tell, self._clock, self._nonce = listener, tell, clock, nonce
        self._links: dict[PeerId, Link] = {}
        self._server: asyncio.Server | None = None
        self._tasks = Tasks()
        self._strangers: set[Connection] = set()
        self._guests: set[Connection] = set()
        self._closing = False

    # opening and closing

    async def listen(self, host: str, port: int) -> int:
        """Binds, and returns the port. Raises: ConfigError."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._accepted, host or None, port, backlog=256)
        except OSError as error:
            text = f"cannot listen there ({error.strerror or error}); choose another, or 0 for any free one"
            raise ConfigError("port", f"{host}:{port}", text) from None
        self._tasks.start(self._beat())
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Says goodbye to everybody, sends what is queued, and closes."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        await self._tasks.close()
        open_ones = [connection for link in self._links.values() for connection in link.connections()]
        for connection in open_ones:
            connection.send(Goodbye())
            connection.close()
        for connection in [*self._strangers, *self._guests]:
            connection.close()
        if open_ones:
            _, late = await asyncio.wait([connection.closed for connection in open_ones], timeout=2.0)
            for connection in open_ones:
                if connection.closed in late:
                    connection.fail(ConnectionAbortedError())

    # talking

    def learn(self, peer: PeerId, address: tuple[str, int]) -> None:
        """Where to reach a peer."""
        if peer != self.me:
            self._links.setdefault(peer, Link()).address = address

    def send(self, peer: PeerId, message: Message, payload: bytes = b"") -> None:
        """Sends at once, or as soon as there is a connection; a peer that cannot be reached is lost."""
        link = self._links.setdefault(peer, Link())
        if link.best is not None:
            link.best.send(message, payload)
        elif len(link.queue) < MAX_QUEUED:
            link.queue.append((message, payload))
            self.connect(peer)

    async def stream(self, peer: PeerId, frames: Callable[[Connection], Awaitable[None]]) -> None:
        """Hands the connection to `frames`, which sends bulk over it with back-pressure. Nothing where it is down."""
        link = self._links.get(peer)
        if link is not None and link.best is not None:
            await frames(link.best)

    def connect(self, peer: PeerId) -> None:
        """Dials, unless there is a connection or somebody dials already."""
        link = self._links.setdefault(peer, Link())
        if link.best is None and link.dialling is None and not self._closing and peer != self.me:
            link.dialling = self._tasks.start(self._dial(peer, link))

    def flood(self, message: Message, payload: bytes, *, but: PeerId | None = None) -> None:
        """Sends over every open connection."""
        for peer in self.connected():
            if peer != but:
                self.send(peer, message, payload)

    def connected(self) -> list[PeerId]:
        return sorted(peer for peer, link in self._links.items() if link.best is not None)

    def is_connected(self, peer: PeerId) -> bool:
        link = self._links.get(peer)
        return link is not None and link.best is not None

    def drop(self, peer: PeerId, error: RemoteProtocolError) -> None:
        """Ends the connections to a peer that broke the rules."""
        link = self._links.get(peer)
        for connection in link.connections() if link is not None else ():
            connection.fail(error)

    def forget(self, peer: PeerId) -> None:
        """Ends the connections to a peer that is no longer needed, without calling it lost."""
        link = self._links.pop(peer, None)
        for connection in link.connections() if link is not None else ():
            connection.on_closed = lambda *_: None
            connection.send(Goodbye())
            connection.close()

    # connections come

    def _connection(self) -> Connection:
        connection = Connection(
            traffic=self.traffic,
            on_frame=lambda *_: None,
            place=lambda _, __, length: memoryview(bytearray(length)),
            on_closed=lambda connection, _: self._strangers.discard(connection),
        )
        self._strangers.add(connection)
        return connection

    def _accepted(self) -> Connection | _TurnedAway:
        if len(self._strangers) >= MAX_STRANGERS or self._closing:
            return _TurnedAway(lambda remote: self._refused("too_many", remote, by_us=True, detail=_TOO_MANY))
        connection = self._connection()
        self._tasks.start(self._receive(connection, Inbox(connection)))
        return connection

    async def _receive(self, connection: Connection, inbox: Inbox) -> None:
        deadline = self._clock.now() + HANDSHAKE_S
        try:
            guest = await self.doorman.greet(connection, inbox, dialled=False, nonce=self._nonce(), deadline=deadline)
        except Refused as error:
            if error.code != "closed":
                self._refused(error.code, connection.remote, by_us=False, detail=str(error))
        except RemoteProtocolError as error:
            self._refused(error.code, connection.remote, by_us=True, detail=str(error))
        except TimeoutError:
            self._refused("silent", connection.remote, by_us=True, detail="no handshake in time")
        else:
            self._admit(connection, guest, dialled=False)

    async def _dial(self, peer: PeerId, link: Link) -> None:
        if peer < self.me:
            await asyncio.sleep(POLITE_S)
        reason = "unknown address"
        try:
            for _ in range(DIAL_ATTEMPTS):
                if link.best is None and link.address is not None:
                    reason = await self._try_to_dial(peer, link.address)
                if link.best is not None or reason != NO_ANSWER:
                    break
        finally:
            link.dialling = None
        if link.best is None and not self._closing:
            self._give_up(peer, link, reason)

    async def _try_to_dial(self, peer: PeerId, address: tuple[str, int]) -> str:
        """Opens a connection; returns why not where it could not."""
        loop = asyncio.get_running_loop()
        connection = self._connection()
        inbox = Inbox(connection)
        deadline = self._clock.now() + DIAL_S + 4 * self.lag_s
        try:
            async with asyncio.timeout_at(deadline):
                await loop.create_connection(lambda: connection, *address)
            deadline = self._clock.now() + HANDSHAKE_S + 4 * self.lag_s
            guest = await self.doorman.greet(connection, inbox, dialled=True, nonce=self._nonce(), deadline=deadline)
            if guest.peer_id != peer:
                raise RemoteProtocolError("other_peer", f"{guest.peer_id[:12]} answers where {peer[:12]} was")
        except TimeoutError:
            connection.close()
            self._strangers.discard(connection)
            return NO_ANSWER
        except RemoteProtocolError as error:
            connection.close()
            self._refused(
                error.code, f"{address[0]}:{address[1]}", by_us=not isinstance(error, Refused), detail=str(error)
            )
            return error.code
        except OSError as error:
            self._strangers.discard(connection)
            return error.strerror or type(error).__name__
        self._admit(connection, guest, dialled=True)
        return ""

    def _refused(self, code: str, remote: str, *, by_us: bool, detail: str) -> None:
        self._tell(ConnectionRefused(code=code, remote=remote, by_us=by_us, detail=detail))

    def _admit(self, connection: Connection, guest: Guest, *, dialled: bool) -> None:
        self._strangers.discard(connection)
        if self._closing or not connection.is_open:
            connection.close()
            if isinstance(connection.failure, RemoteProtocolError):
                error = connection.failure
                self._refused(error.code, connection.remote, by_us=True, detail=str(error))
        elif guest.hello.role == "observer":
            self._receive_guest(connection, guest)
        else:
            self._install(connection, guest, dialled=dialled)

    def _receive_guest(self, connection: Connection, guest: Guest) -> None:
        if len(self._guests) >= MAX_GUESTS:
            self._refused("too_many", connection.remote, by_us=True, detail=_TOO_MANY)
            connection.send(Refusal(code="too_many", detail=_TOO_MANY))
            connection.close()
            return
        self._guests.add(connection)
        connection.on_frame = self._guest_asked
        connection.on_closed = lambda connection, _: self._guests.discard(connection)
        connection.hear(guest.early)

    def _guest_asked(self, connection: Connection, message: AnyMessage, payload: memoryview) -> None:
        if isinstance(message, Goodbye):
            connection.close()
        else:
            self._listener.asked(connection, message)

    def _install(self, connection: Connection, guest: Guest, *, dialled: bool) -> None:
        peer = guest.peer_id
        link = self._links.setdefault(peer, Link())
        link.said_goodbye = False
        if guest.hello.port:
            link.address = (guest.hello.host, guest.hello.port)
        rooms = guest.rooms
        connection.on_frame = lambda connection, message, payload: self._frame(
            peer, link, connection, message, self._placed(peer, message, payload, rooms)
        )
        connection.place = lambda _, message, length: self._listener.room(peer, message, length)
        connection.on_closed = lambda connection, error: self._closed(peer, link, connection, error)
        by_lower_id = dialled == (self.me < peer)
        was_down = link.best is None
        if link.best is None or by_lower_id:
            if link.best is not None:
                link.others.append(link.best)
            link.best = connection
        else:
            link.others.append(connection)
        while link.queue:
            link.best.send(*link.queue.popleft())
        if was_down:
            self._listener.up(peer)
        connection.hear(guest.early)

    def _placed(
        self, peer: PeerId, message: AnyMessage, payload: memoryview, rooms: tuple[memoryview, ...]
    ) -> memoryview:
        """Moves a payload that began to come in during the handshake (it is in one of `rooms`) to where it belongs."""
        if not any(payload is room for room in rooms):
            return payload
        place = self._listener.room(peer, message, len(payload))
        place[:] = payload
        return place

    def _frame(
        self, peer: PeerId, link: Link, connection: Connection, message: AnyMessage, payload: memoryview
    ) -> None:
        match message:
            case Heartbeat():
                pass
            case Goodbye():
                link.said_goodbye = True
                connection.close()
            case _:
                self._listener.heard(peer, message, payload)

    # connections go

    def _closed(self, peer: PeerId, link: Link, connection: Connection, error: Exception | None) -> None:
        if isinstance(error, MarflError):
            self._tell(RemoteFault(code=error.code, remote=peer, detail=str(error)))
        if connection in link.others:
            link.others.remove(connection)
            return
        link.best = link.others.pop(0) if link.others else None
        if link.best is not None or self._closing or self._links.get(peer) is not link:
            return
        self._listener.down(peer)
        if link.said_goodbye:
            return
        # Its groups go on without it from now on; lost it is only when a new connection cannot be had either.
        if isinstance(error, RemoteProtocolError) or link.address is None:
            self._give_up(peer, link, str(error))
        else:
            self.connect(peer)

    def _give_up(self, peer: PeerId, link: Link, reason: str) -> None:
        link.queue.clear()
        self._listener.lost(peer, reason)

    # watching

    async def _beat(self) -> None:
        """Sends heartbeats, ends silent connections, and measures how late this very loop is."""
        while True:
            due = self._clock.now() + HEARTBEAT_S / 2
            await asyncio.sleep(HEARTBEAT_S / 2)
            lag = max(0.0, self._clock.now() - due)
            self.lag_s = max(lag, self.lag_s * _LAG_MEMORY)
            if lag > LAG_WORTH_TELLING_S:
                self._tell(LoopLagged(seconds=lag))
            self._watch(self._clock.now(), lag)

    def _watch(self, now: float, lag: float) -> None:
        silent_since = now - silence_s(self.lag_s)
        for link in list(self._links.values()):
            for connection in link.connections():
                if now - connection.last_sent >= HEARTBEAT_S / 2:
                    connection.send(Heartbeat())
                # Right after a lag what was sent to us in the meantime has not been read yet.
                if connection.last_heard < silent_since and lag < HEARTBEAT_S:
                    connection.fail(TimeoutError("silent"))
        for connection in [guest for guest in self._guests if guest.last_heard < now - GUEST_S]:
            connection.close()


_TOO_MANY = "too many connections at the door"


class _TurnedAway(asyncio.Protocol):
    """A connection for which there is no room: it is told so and closed, whatever it sends."""

    def __init__(self, on_connected: Callable[[str], None]) -> None:
        self._on_connected = on_connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tcp = cast(asyncio.Transport, transport)
        name = tcp.get_extra_info("peername")
        self._on_connected(f"{name[0]}:{name[1]}" if name else "unknown")
        tcp.write(frame_head(encode(Refusal(code="too_many", detail=_TOO_MANY))))
        tcp.close()


def bind_both(host: str) -> int:
    """A port that is free for TCP and UDP alike at this moment."""
    for _ in range(64):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            tcp.bind((host, 0))
            port = int(tcp.getsockname()[1])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                try:
                    udp.bind((host, port))
                except OSError:
                    continue
                return port
    raise ConfigError("port", 0, "no port is free for TCP and UDP alike")
