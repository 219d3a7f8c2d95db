"""The door: connections come in and go out here, and stay strangers until the handshake has shown who they are.

Both sides' handshakes end here: with a guest who is admitted, or with a refusal that is told. Knows nothing of a peer
that is in already, nor of what is said inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from marfl_peer.clock import Clock
from marfl_peer.errors import ConfigError, RemoteProtocolError
from marfl_peer.facts import ConnectionRefused, Sink
from marfl_peer.ids import PeerId
from marfl_peer.network import neighbours
from marfl_peer.network.connection import Connection
from marfl_peer.network.handshake import Doorman, Guest, Inbox, Refused
from marfl_peer.network.tasks import Tasks
from marfl_peer.network.traffic import Traffic
from marfl_peer.network.waking import Waking
from marfl_peer.protocol.deadlines import DIAL_S, HEARTBEAT_S, handshake_s, silence_s
from marfl_peer.protocol.frames import frame_head
from marfl_peer.protocol.messages import Refusal, encode

BACKLOG = 256
"""Connections that the kernel holds until they are accepted."""
MAX_STRANGERS = 256
"""Connections that have not shown who they are yet."""
NO_ANSWER = "does not answer"
STOOD_STILL = "was not listened for"
TOO_MANY = "too many connections at the door"

Admit = Callable[[Connection, Guest, bool], None]
"""(connection, guest, whether this side dialled). It must set the connection's callbacks at once."""


class Door:
    """`lag_s` tells how late the own loop is, `company` how many the largest group has: others are given that much more
    time, which is measured as `waking` does. The `tasks` are the caller's. `knows_neighbours`: whether peers on this
    machine come, and are dialled, by Unix sockets, where they can be."""

    def __init__(
        self,
        *,
        me: PeerId,
        knows_neighbours: bool,
        doorman: Doorman,
        admit: Admit,
        lag_s: Callable[[], float],
        company: Callable[[], int],
        tasks: Tasks,
        traffic: Traffic,
        tell: Sink,
        clock: Clock,
        nonce: Callable[[], bytes],
        waking: Waking,
    ) -> None:
        self._me, self._knows_neighbours = me, knows_neighbours
        self._doorman = doorman
        self.strangers: dict[Connection, None] = {}  # in the order in which they came
        self.visitors = 0
        """Strangers that came by themselves."""
        self._admit, self._lag_s, self._company = admit, lag_s, company
        self._tasks, self._waking = tasks, waking
        self._traffic, self._tell, self._clock, self._nonce = traffic, tell, clock, nonce
        self._servers: list[asyncio.Server] = []
        self._is_shut = False

    async def open(self, host: str, port: int) -> int:
        """Binds, and returns the port. Raises: ConfigError."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._accepted, host or None, port, backlog=BACKLOG)
        except OSError as error:
            text = f"cannot listen there ({error.strerror or error}); choose another, or 0 for any free one"
            raise ConfigError("port", f"{host}:{port}", text) from None
        self._servers.append(server)
        port = int(server.sockets[0].getsockname()[1])
        if self._knows_neighbours:
            for_neighbours = await neighbours.listen(self._accepted, self._me, port, backlog=BACKLOG)
            if for_neighbours is None:
                self._knows_neighbours = False
            else:
                self._servers.append(for_neighbours)
        return port

    def shut(self) -> None:
        """Lets nobody in any more."""
        self._is_shut = True
        for server in self._servers:
            server.close()

    def clear(self) -> None:
        """Sends the strangers away."""
        for connection in [*self.strangers]:
            connection.close()

    async def dial(self, peer: PeerId, address: tuple[str, int]) -> str:
        """Opens a connection, whose guest is admitted; returns why not where it could not: NO_ANSWER where nobody
        answered in time, STOOD_STILL where this process could not have heard it."""
        connection = self._connection()
        inbox = Inbox(connection)
        began = self._clock.now()
        try:
            async with self._waking.within(DIAL_S + 2 * self._lag_s()):
                await self._connect(connection, peer, address)
            patience = self._waking.within(silence_s(self._lag_s(), company=self._company()))
            guest = await self._doorman.greet(connection, inbox, dialled=True, nonce=self._nonce(), patience=patience)
            if guest.peer_id != peer:
                raise RemoteProtocolError("other_peer", f"{guest.peer_id[:12]} answers where {peer[:12]} was")
        except TimeoutError:
            connection.close()
            self.strangers.pop(connection, None)
            return NO_ANSWER
        except RemoteProtocolError as error:
            connection.close()
            if isinstance(error, Refused) and error.code == "closed":
                # Whoever waited at the other end gave up, or is no more. While this process was stopped it would have.
                return STOOD_STILL if self._slept_since(began) else NO_ANSWER
            remote = f"{address[0]}:{address[1]}"
            self._refused(error.code, remote, by_us=not isinstance(error, Refused), detail=str(error))
            return error.code
        except OSError as error:
            self.strangers.pop(connection, None)
            return error.strerror or type(error).__name__
        self._let_in(connection, guest, dialled=True)
        return ""

    async def _connect(self, connection: Connection, peer: PeerId, address: tuple[str, int]) -> None:
        host, port = address
        if self._knows_neighbours and await neighbours.dial(connection, peer, port):
            connection.remote = f"{host}:{port}"
        else:
            await asyncio.get_running_loop().create_connection(lambda: connection, host, port)

    def _slept_since(self, began: float) -> bool:
        now = self._clock.now()
        return now - began - self._waking.since(began, now) > HEARTBEAT_S

    def _connection(self) -> Connection:
        connection = Connection(
            traffic=self._traffic,
            on_frame=lambda *_: None,
            place=lambda _, length: memoryview(bytearray(length)),
            on_closed=lambda connection, _: self.strangers.pop(connection, None),
        )
        self.strangers[connection] = None
        return connection

    def _accepted(self) -> Connection | _TurnedAway:
        if len(self.strangers) >= MAX_STRANGERS or self._is_shut:
            return _TurnedAway(lambda remote: self._refused("too_many", remote, by_us=True, detail=TOO_MANY))
        connection = self._connection()
        self._tasks.start(self._receive(connection, Inbox(connection)))
        return connection

    async def _receive(self, connection: Connection, inbox: Inbox) -> None:
        patience = self._waking.within(handshake_s(self._lag_s(), company=self._company()))
        self.visitors += 1
        try:
            guest = await self._doorman.greet(connection, inbox, dialled=False, nonce=self._nonce(), patience=patience)
        except Refused as error:
            if error.code != "closed":
                self._refused(error.code, connection.remote, by_us=False, detail=str(error))
        except RemoteProtocolError as error:
            self._refused(error.code, connection.remote, by_us=True, detail=str(error))
        except TimeoutError:
            self._refused("silent", connection.remote, by_us=True, detail="no handshake in time")
        else:
            self._let_in(connection, guest, dialled=False)
        finally:
            self.visitors -= 1

    def _let_in(self, connection: Connection, guest: Guest, *, dialled: bool) -> None:
        self.strangers.pop(connection, None)
        if self._is_shut or not connection.is_open:
            connection.close()
            if isinstance(connection.failure, RemoteProtocolError):
                error = connection.failure
                self._refused(error.code, connection.remote, by_us=True, detail=str(error))
        else:
            self._admit(connection, guest, dialled)

    def _refused(self, code: str, remote: str, *, by_us: bool, detail: str) -> None:
        self._tell(ConnectionRefused(code=code, remote=remote, by_us=by_us, detail=detail))


class _TurnedAway(asyncio.Protocol):
    """A connection for which there is no room: it is told so and closed, whatever it sends."""

    def __init__(self, on_connected: Callable[[str], None]) -> None:
        self._on_connected = on_connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tcp = cast(asyncio.Transport, transport)
        name = tcp.get_extra_info("peername")
        self._on_connected(f"{name[0]}:{name[1]}" if name else "unknown")
        tcp.write(frame_head(encode(Refusal(code="too_many", detail=TOO_MANY))))
        tcp.close()
