"""The door: both sides show who they are and what they run, and prove that they hold the key they show.

dialler -> Hello;  listener -> Hello, Proof;  dialler -> Proof. A proof signs both hellos and the signer's side, so
it is worth nothing on any other connection. Peers must agree on version, run, settings and model; an observer
only asks.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId, peer_id_of
from marfl_peer.network.connection import Connection
from marfl_peer.network.identity import Identity
from marfl_peer.protocol import signatures
from marfl_peer.protocol.messages import PROTOCOL_VERSION, AnyMessage, Hello, Proof, Refusal, encode

_CONTEXT = b"marfl-peer handshake 1"
T = TypeVar("T", bound=msgspec.Struct)

MAX_EARLY_FRAMES = 64
MAX_EARLY_BYTES = 1024 * 1024
"""Of payload. Where this much came in before the handshake is over, the rest has to wait in the socket."""


class Refused(RemoteProtocolError):
    """The other side turned us away; `code` is its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """What this side says of itself at every door."""

    role: Literal["peer", "observer"]
    run_id: str
    settings_digest: str
    schema_digest: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Guest:
    """Who is at the other end, checked."""

    peer_id: PeerId
    hello: Hello
    early: tuple[tuple[AnyMessage, memoryview], ...]
    """What came in behind the handshake before this side was through with it."""
    rooms: tuple[memoryview, ...] = ()
    """The memory that payloads behind the handshake were read into, or still are: it is not where they belong."""


class Inbox:
    """Holds what arrives during the handshake; a stranger cannot make it hold much."""

    def __init__(self, connection: Connection) -> None:
        """Attach it before the connection can receive anything."""
        connection.on_frame = lambda _, message, payload: self.put(message, payload)
        connection.place = lambda _, length: self.room(length)
        self._connection = connection
        self._frames: asyncio.Queue[tuple[AnyMessage, memoryview]] = asyncio.Queue()
        self._rooms: list[memoryview] = []
        self._is_proved = False
        self.held_bytes = 0

    def put(self, message: AnyMessage, payload: memoryview) -> None:
        self._frames.put_nowait((message, payload))
        self._is_proved = self._is_proved or isinstance(message, Proof)
        if isinstance(message, Proof) or self._frames.qsize() >= MAX_EARLY_FRAMES:
            # Bulk may follow at once: it is to be read when there is somebody to say where it belongs.
            self._connection.pause_reading()

    def room(self, length: int) -> memoryview:
        """Raises: RemoteProtocolError for a payload before the other side said all that the handshake needs of it."""
        if length and not self._is_proved:
            raise RemoteProtocolError("early_message", f"a payload of {length} bytes before the handshake is over")
        self.held_bytes += length
        if self.held_bytes >= MAX_EARLY_BYTES:
            self._connection.pause_reading()
        room = memoryview(bytearray(length))
        if length:
            self._rooms.append(room)
        return room

    async def next(self, connection: Connection, kind: type[T]) -> T:
        """The next message, which must be of one kind. Raises: RemoteProtocolError, Refused."""
        getter = asyncio.ensure_future(self._frames.get())
        try:
            await asyncio.wait((getter, connection.closed), return_when=asyncio.FIRST_COMPLETED)
            if not getter.done():
                # Bytes that are no frame end the connection before there is a message to look at.
                if isinstance(connection.failure, RemoteProtocolError):
                    raise connection.failure
                raise Refused("closed", "the other side closed the connection")
            message, _ = getter.result()
        finally:
            getter.cancel()
        if isinstance(message, Refusal):
            raise Refused(message.code, message.detail)
        if not isinstance(message, kind):
            raise RemoteProtocolError("early_message", f"{type(message).__name__} where {kind.__name__} belongs")
        return message

    def rest(self) -> tuple[tuple[AnyMessage, memoryview], ...]:
        return tuple(self._frames.get_nowait() for _ in range(self._frames.qsize()))

    def rooms(self) -> tuple[memoryview, ...]:
        """All memory that payloads were or are read into."""
        return tuple(self._rooms)


class Doorman:
    """Performs the handshake on a fresh connection, whose frames it reads until it is over."""

    def __init__(self, identity: Identity, introduction: Introduction) -> None:
        self._identity = identity
        self.introduction = introduction

    async def greet(
        self,
        connection: Connection,
        inbox: Inbox,
        *,
        dialled: bool,
        nonce: bytes,
        patience: AbstractAsyncContextManager[object],
    ) -> Guest:
        """`patience` ends it when it takes too long.

        Raises: RemoteProtocolError (Refused where the other side closed the door), TimeoutError.
        """
        mine = self._hello(nonce)
        try:
            async with patience:
                return await self._exchange(connection, inbox, mine, dialled=dialled)
        except RemoteProtocolError as error:
            if not isinstance(error, Refused):
                connection.send(Refusal(code=error.code, detail=str(error)[:400]))
            connection.close()
            raise
        except TimeoutError:
            connection.close()
            raise

    async def _exchange(self, connection: Connection, inbox: Inbox, mine: Hello, *, dialled: bool) -> Guest:
        if dialled:
            connection.send(mine)
        theirs = await inbox.next(connection, Hello)
        peer_id = self._admit(theirs)
        hellos = (mine, theirs) if dialled else (theirs, mine)
        transcript = encode(hellos[0]) + encode(hellos[1])
        if not dialled:
            connection.send(mine)
            connection.send(self._prove(b"listener" + transcript))
        proof = await inbox.next(connection, Proof)
        side = b"listener" if dialled else b"dialler"
        if not signatures.verify(theirs.public_key, _CONTEXT, side + transcript, proof.signature):
            raise RemoteProtocolError("bad_signature", "the proof does not fit the key that was shown")
        if dialled:
            connection.send(self._prove(b"dialler" + transcript))
        connection.resume_reading()
        return Guest(peer_id, theirs, inbox.rest(), inbox.rooms())

    def _hello(self, nonce: bytes) -> Hello:
        intro = self.introduction
        return Hello(
            version=PROTOCOL_VERSION,
            role=intro.role,
            run_id=intro.run_id,
            public_key=self._identity.public_key,
            incarnation=self._identity.incarnation,
            nonce=nonce,
            settings_digest=intro.settings_digest,
            schema_digest=intro.schema_digest,
            host=intro.host,
            port=intro.port,
        )

    def _prove(self, message: bytes) -> Proof:
        return Proof(signature=self._identity.sign(_CONTEXT, message))

    def _admit(self, theirs: Hello) -> PeerId:
        mine = self.introduction
        if theirs.version != PROTOCOL_VERSION:
            text = f"protocol version {theirs.version} meets {PROTOCOL_VERSION}: run the same release everywhere"
            raise RemoteProtocolError("other_version", text)
        peer_id = peer_id_of(theirs.public_key)
        if peer_id == self._identity.peer_id:
            raise RemoteProtocolError("self", "this is the same identity: copy no state directory between peers")
        if "observer" not in (mine.role, theirs.role):
            self._compare("other_run", "run", theirs.run_id, mine.run_id)
            self._compare("other_settings", "settings digest", theirs.settings_digest, mine.settings_digest)
            self._compare("other_schema", "model schema digest", theirs.schema_digest, mine.schema_digest)
        return peer_id

    @staticmethod
    def _compare(code: str, what: str, theirs: str, mine: str) -> None:
        if theirs != mine:
            text = f"{what} {theirs[:64]!r} meets {mine[:64]!r}: peers of one run share task, model and settings"
            raise RemoteProtocolError(code, text)
