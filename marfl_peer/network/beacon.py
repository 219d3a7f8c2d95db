"""The LAN beacon: tells by multicast which run this peer is in, and hears which others are in the same run.

It finds addresses to start from and nothing else: a beacon is signed, but the address is where the datagram came
from, so whoever is there must still prove itself at the door. Garbage is counted and dropped.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Any, Self

import asyncio_dgram
import msgspec
from msgspec import Meta

from marfl_peer.clock import Clock
from marfl_peer.errors import ConfigError, RemoteProtocolError
from marfl_peer.facts import Sink
from marfl_peer.ids import PeerId, RunId, peer_id_of
from marfl_peer.network.identity import Identity
from marfl_peer.network.rejections import Rejections
from marfl_peer.protocol import signatures
from marfl_peer.protocol.records import Counter, Port, unpack

GROUP = "239.255.77.70"
PORT = 7799
CONTEXT = b"beacon 1"
MAX_BEACON_BYTES = 512
MAX_SKEW_S = 300
"""How far the clocks of two hosts may be apart; an older beacon is a replay."""
MAX_SIGHTINGS = 4096
SEND_TIMEOUT_S = 1.0
PAUSE_AFTER_FAULT_S = 1.0


class Notice(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What a beacon says: a peer of this run listens on `port`, TCP and UDP. `sent_at` is in Unix seconds."""

    run_id: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
    public_key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    port: Port
    sent_at: Counter
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A peer of the same run was heard from this host; it says that it listens on this port."""

    peer_id: PeerId
    host: str
    port: int


def encode_notice(identity: Identity, *, run_id: RunId, port: int, now_wall: float) -> bytes:
    """The signed datagram."""
    signature = identity.sign(CONTEXT, _signed_bytes(run_id, port, int(now_wall)))
    return msgspec.msgpack.encode(
        Notice(
            run_id=run_id,
            public_key=identity.public_key,
            port=port,
            sent_at=int(now_wall),
            signature=signature,
        )
    )


def decode_notice(data: bytes, *, now_wall: float) -> Notice:
    """Raises: RemoteProtocolError `beacon_malformed`, `beacon_stale` or `beacon_signature`."""
    raw = unpack(data, max_bytes=MAX_BEACON_BYTES, code="beacon_malformed")
    try:
        notice = msgspec.convert(raw, Notice, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise RemoteProtocolError("beacon_malformed", f"not a beacon: {error}") from error
    if abs(notice.sent_at - now_wall) > MAX_SKEW_S:
        raise RemoteProtocolError("beacon_stale", f"sent {now_wall - notice.sent_at:.0f} s ago")
    message = _signed_bytes(notice.run_id, notice.port, notice.sent_at)
    if not signatures.verify(notice.public_key, CONTEXT, message, notice.signature):
        raise RemoteProtocolError("beacon_signature", "a beacon with a bad signature")
    return notice


class Beacon:
    """Sends and listens from entering to leaving the context; `on_peer` hears of every new peer, and again when a
    known one is heard from another address. It must return at once and must not raise.

    `interface` is the address of the interface to use; 0.0.0.0 leaves the choice to the system.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        run_id: RunId,
        port: int,
        clock: Clock,
        on_peer: Callable[[Sighting], None],
        on_fact: Sink | None = None,
        interface: str = "0.0.0.0",
        interval_s: float = 5.0,
        group: tuple[str, int] = (GROUP, PORT),
    ) -> None:
        self._identity = identity
        self._run_id = run_id
        self._port = port
        self._clock = clock
        self._on_peer = on_peer
        self._interface = interface
        self._interval_s = interval_s
        self._group = group
        self._rejections = Rejections(on_fact)
        self._sightings: dict[PeerId, Sighting] = {}
        self._tasks = asyncio.TaskGroup()
        self._open_tasks: list[asyncio.Task[None]] = []
        self._stream: Any = None  # asyncio_dgram has no types
        self.bytes_sent = 0
        self.bytes_received = 0

    @property
    def rejected(self) -> dict[str, int]:
        """How many datagrams were dropped, by reason."""
        return dict(self._rejections.total)

    async def __aenter__(self) -> Self:
        """Raises: ConfigError if the interface cannot do multicast."""
        self._stream = await asyncio_dgram.from_socket(multicast_socket(self._group, self._interface))
        await self._tasks.__aenter__()
        self._open_tasks = [self._tasks.create_task(self._send()), self._tasks.create_task(self._listen())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._open_tasks:
            task.cancel()
        try:
            if isinstance(error, asyncio.CancelledError):  # perhaps the group's own, to tell of a fault in it
                await self._tasks.__aexit__(kind, error, trace)
            else:  # an error of the body stays what it is, in no group
                await self._tasks.__aexit__(None, None, None)
        finally:
            self._stream.close()
            self._rejections.close()

    async def _send(self) -> None:
        while True:
            data = encode_notice(self._identity, run_id=self._run_id, port=self._port, now_wall=self._clock.wall())
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._stream.send(data, self._group)
                self.bytes_sent += len(data)
            except (OSError, TimeoutError):
                self._rejections.count("beacon_unsent")  # the network may come back: the next one tries again
            await asyncio.sleep(self._interval_s)

    async def _listen(self) -> None:
        while True:
            try:
                data, address = await self._stream.recv()  # its deadline is the beacon's life
            except OSError:  # left in the socket by a datagram that could not be sent
                await asyncio.sleep(PAUSE_AFTER_FAULT_S)
                continue
            self.bytes_received += len(data)
            try:
                self._hear(decode_notice(data, now_wall=self._clock.wall()), str(address[0]))
            except RemoteProtocolError as error:
                self._rejections.count(error.code)

    def _hear(self, notice: Notice, host: str) -> None:
        peer_id = peer_id_of(notice.public_key)
        if notice.run_id != self._run_id or peer_id == self._identity.peer_id:
            return
        sighting = Sighting(peer_id=peer_id, host=host, port=notice.port)
        if self._sightings.get(peer_id) == sighting:
            return
        while len(self._sightings) >= MAX_SIGHTINGS:
            del self._sightings[next(iter(self._sightings))]
        self._sightings[peer_id] = sighting
        self._on_peer(sighting)


def multicast_socket(group: tuple[str, int], interface: str) -> socket.socket:
    """A socket that sends to and hears the group on one interface only, with TTL 1; several peers of one host may
    each have one. Raises: ConfigError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own = socket.inet_aton(interface)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sock.bind(group)  # to the group, not to any address: unicast datagrams do not come in here
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group[0]) + own)
    except OSError as error:
        sock.close()
        raise ConfigError("lan", interface, f"no multicast there ({error}): give bootstrap addresses") from error
    return sock


def _signed_bytes(run_id: str, port: int, sent_at: int) -> bytes:
    return msgspec.msgpack.encode((run_id, port, sent_at))
