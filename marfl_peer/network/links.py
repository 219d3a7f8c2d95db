"""The pool of connections to other peers, one for each that is spoken to: dialled when needed, kept, dialled again.

Who dials whom is the table of `protocol.dialling`: a dial-only peer is awaited in place of being dialled. Of two
connections to one peer, that dialled by the lower id carries what is sent; the other is read until it closes.
A connection that broke, or was silent for three heartbeats, is dialled again; a peer that does not answer is lost.
Knows who is at the other end, not what is said.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Protocol

from marfl_peer.clock import Clock
from marfl_peer.errors import ConfigError, MarflError, RemoteProtocolError
from marfl_peer.facts import RemoteFault, Sink
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.door import NO_ANSWER, STOOD_STILL, Door
from marfl_peer.network.guests import Guests
from marfl_peer.network.handshake import Doorman, Guest
from marfl_peer.network.link import Link, placed
from marfl_peer.network.pace import Pace
from marfl_peer.network.tasks import Tasks
from marfl_peer.network.tcp_info import TcpCounters
from marfl_peer.network.traffic import Traffic
from marfl_peer.network.uplink import Uplink
from marfl_peer.network.waking import Waking
from marfl_peer.network.watch import Watch
from marfl_peer.protocol.deadlines import DIAL_S, arrival_s
from marfl_peer.protocol.dialling import Way, way_between
from marfl_peer.protocol.frames import Room
from marfl_peer.protocol.messages import AnyMessage, Goodbye, Message

MAX_QUEUED = 4096
"""Messages that wait for a connection to one peer."""
DIAL_ATTEMPTS = 2
"""A host under load may miss one; a refusal is final at once."""
POLITE_S = 0.2
"""The higher id lets the lower one dial first: it begins when nobody has come in for so long and nobody is at the
door."""
MAX_POLITE_S = 5.0
DID_NOT_COME = "is dial-only, and its connection did not come"


class Listener(Protocol):
    """Who is told what happens on the links. Calls come on the event loop and must return at once."""

    def heard(self, peer: PeerId, message: AnyMessage, payload: memoryview) -> None: ...

    def room(self, peer: PeerId, message: AnyMessage, length: int) -> memoryview | Room: ...

    def asked(self, connection: Connection, message: AnyMessage) -> None: ...

    def up(self, peer: PeerId) -> None: ...

    def down(self, peer: PeerId) -> None: ...

    def interrupted(self, peer: PeerId) -> None: ...

    def offended(self, peer: PeerId) -> None: ...

    def lost(self, peer: PeerId, reason: str) -> None: ...

    def iteration(self) -> int: ...

    def company(self) -> int: ...


class Links:
    """`listen` before anything else. `listens`: whether others can reach this peer; one that is dial-only listens to
    its own machine alone. `knows_neighbours`: whether peers on this machine talk to it by Unix sockets."""

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
        listens: bool = True,
        knows_neighbours: bool = True,
    ) -> None:
        self.me = me
        self.doorman = doorman
        self._listens, self._clock = listens, clock
        self.traffic = traffic
        self.uplink = Uplink(self._counters)
        self._listener, self._tell = listener, tell
        self._links: dict[PeerId, Link] = {}
        self._tasks = Tasks()
        self._waking = Waking(clock)
        self._pace = Pace(self._waking)
        self._guests = Guests(on_asked=lambda connection, message: self._listener.asked(connection, message), tell=tell)
        self._watch = Watch(
            connections=self._connections,
            guests=self._guests,
            iteration=lambda: self._listener.iteration(),
            company=lambda: self._listener.company(),
            clock=clock,
            tell=tell,
            waking=self._waking,
        )
        self._door = Door(
            me=me,
            knows_neighbours=knows_neighbours,
            doorman=doorman,
            admit=self._admit,
            lag_s=lambda: self._watch.lag_s,
            company=lambda: self._listener.company(),
            tasks=self._tasks,
            traffic=traffic,
            tell=tell,
            clock=clock,
            nonce=nonce,
            waking=self._waking,
        )
        self._closing = False
        self._admitted = 0
        """Connections to peers so far."""

    # opening and closing

    async def listen(self, host: str, port: int) -> int:
        """Binds, and returns the port. Raises: ConfigError."""
        port = await self._door.open(host, port)
        self._tasks.start(self._watch.run())
        return port

    async def close(self) -> None:
        """Says goodbye to everybody, sends what is queued, and closes."""
        self._closing = True
        self._door.shut()
        await self._tasks.close()
        open_ones = list(self._connections())
        for connection in open_ones:
            connection.send(Goodbye())
            connection.close()
        self._door.clear()
        self._guests.close()
        if open_ones:
            _, late = await asyncio.wait([connection.closed for connection in open_ones], timeout=2.0)
            for connection in open_ones:
                if connection.closed in late:
                    connection.fail(ConnectionAbortedError())

    # talking

    def learn(self, peer: PeerId, address: tuple[str, int] | None) -> None:
        """Where to reach a peer; None: nowhere, it is dial-only."""
        if peer != self.me:
            link = self._link_to(peer)
            link.address, link.is_dial_only = address, address is None

    def send(self, peer: PeerId, message: Message, payload: bytes = b"") -> None:
        """Sends at once, or as soon as there is a connection; a peer that cannot be reached is lost."""
        link = self._link_to(peer)
        if link.best is not None:
            link.best.send(message, payload)
        elif len(link.queue) < MAX_QUEUED:
            link.queue.append((message, payload))
            self.connect(peer)

    def connection(self, peer: PeerId) -> Connection | None:
        """That which carries what is sent to a peer; None where it is down."""
        link = self._links.get(peer)
        return None if link is None else link.best

    async def stream(self, peer: PeerId, frames: Callable[[Connection], Awaitable[None]]) -> None:
        """Hands the connection to `frames`, which sends bulk over it with back-pressure. Nothing where it is down."""
        connection = self.connection(peer)
        if connection is not None:
            await frames(connection)

    def connect(self, peer: PeerId) -> None:
        """Dials, or waits for the other to do so, unless there is a connection or that is under way."""
        link = self._link_to(peer)
        if link.best is None and link.dialling is None and not self._closing and peer != self.me:
            link.dialling = self._tasks.start(self._reach(peer, link))

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

    def said_goodbye(self, peer: PeerId) -> bool:
        """Whether a peer took its leave, and has not come back since."""
        link = self._links.get(peer)
        return link is not None and link.said_goodbye

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

    async def _reach(self, peer: PeerId, link: Link) -> None:
        reason = ""
        way = way_between(self.me, peer, i_listen=self._listens, it_listens=not link.is_dial_only)
        try:
            match way:
                case Way.DIAL_SECOND:
                    await self._let_others_in(link)
                    reason = await self._dial(peer, link)
                case Way.DIAL:
                    reason = await self._dial(peer, link)
                case Way.AWAIT:
                    reason = await self._await_arrival(peer, link)
                case Way.NONE:
                    pass
        finally:
            link.dialling = None
        if link.best is not None or self._closing:
            return
        if way is Way.NONE:
            link.queue.clear()
            self._listener.down(peer)  # for this peer; the others hear it, so it is not lost
        else:
            self._give_up(peer, link, reason)

    async def _let_others_in(self, link: Link) -> None:
        """Where all dial all, most of those with lower ids are on their way: dialling them, too, would be twice the
        work for everybody."""
        waited_s, admitted = 0.0, -1
        while link.best is None and waited_s < MAX_POLITE_S and (self._door.visitors or admitted != self._admitted):
            admitted = self._admitted
            await asyncio.sleep(POLITE_S)
            waited_s += POLITE_S

    async def _dial(self, peer: PeerId, link: Link) -> str:
        """Returns why there is no connection, where there is none."""
        reason, silences = "unknown address", 0
        while link.best is None and link.address is not None and silences < DIAL_ATTEMPTS:
            async with self._pace.place():
                reason = "" if link.best is not None else await self._door.dial(peer, link.address)
            if reason == NO_ANSWER and link.best is None:
                silences += 1
                # It was silent for as long as may be: its groups go on without it, while it is tried again.
                self._listener.down(peer)
            elif reason != STOOD_STILL:
                break  # it answered, if only to refuse; or has dialled this peer meanwhile
        return reason

    async def _await_arrival(self, peer: PeerId, link: Link) -> str:
        """The same for one that dials this peer. After the time of a dial its groups go on without it."""
        began = self._clock.now()
        longest_s = arrival_s(self._watch.lag_s)
        for wait_s in (DIAL_S, longest_s):
            try:
                async with asyncio.timeout_at(began + wait_s):
                    while link.best is None:
                        link.arrived.clear()
                        await link.arrived.wait()
            except TimeoutError:
                self._listener.down(peer)
        return f"{DID_NOT_COME} in {longest_s:.0f} s"

    def _admit(self, connection: Connection, guest: Guest, dialled: bool) -> None:
        if guest.hello.role == "observer":
            self._guests.receive(connection, guest)
        else:
            self._install(connection, guest, dialled=dialled)

    def _install(self, connection: Connection, guest: Guest, *, dialled: bool) -> None:
        peer = guest.peer_id
        self._admitted += 1
        link = self._link_to(peer)
        self.learn(peer, (guest.hello.host, guest.hello.port) if guest.hello.port else None)
        rooms = guest.rooms

        def heard(connection: Connection, message: AnyMessage, payload: memoryview) -> None:
            if not link.notes(connection, message):
                there = placed(payload, rooms, partial(self._listener.room, peer, message)) if rooms else payload
                if there is not None:
                    self._listener.heard(peer, message, there)

        connection.on_frame = heard
        connection.place = lambda message, length: self._listener.room(peer, message, length)
        connection.on_closed = lambda connection, error: self._closed(peer, link, connection, error)
        connection.fit_to_path()
        # All connections to one that is dial-only are dialled by it: it knows best which is the last.
        is_better = link.is_dial_only or not self._listens or dialled == (self.me < peer)
        if link.add(connection, is_better=is_better):
            self._listener.up(peer)
        connection.hear(guest.early)

    def _link_to(self, peer: PeerId) -> Link:
        link = self._links.get(peer)
        if link is None:
            link = self._links[peer] = Link()
        return link

    def _connections(self) -> Iterator[Connection]:
        for link in list(self._links.values()):
            yield from link.connections()

    def _counters(self, peers: Iterable[PeerId]) -> dict[Hashable, TcpCounters]:
        links = [link for peer in peers if (link := self._links.get(peer)) is not None]
        counted = ((connection, connection.counters()) for link in links for connection in link.connections())
        return {connection: counters for connection, counters in counted if counters is not None}

    # connections go

    def _closed(self, peer: PeerId, link: Link, connection: Connection, error: Exception | None) -> None:
        if isinstance(error, MarflError):
            self._tell(RemoteFault(code=error.code, remote=peer, detail=str(error)))
        is_down = link.remove(connection)
        if self._closing or self._links.get(peer) is not link:
            return
        if isinstance(error, RemoteProtocolError):
            self._listener.offended(peer)
        if not is_down and link.said_goodbye:
            return
        if not is_down:
            self._listener.interrupted(peer)  # another carries on, but what was under way on this one is lost
            return
        self._listener.down(peer)
        if link.said_goodbye:
            return
        # Its groups go on without it from now on; lost it is only when a new connection cannot be had either.
        if isinstance(error, RemoteProtocolError) or (link.address is None and not link.is_dial_only):
            self._give_up(peer, link, str(error))
        else:
            self.connect(peer)

    def _give_up(self, peer: PeerId, link: Link, reason: str) -> None:
        link.queue.clear()
        self._listener.lost(peer, reason)


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
