"""The door, on both event loops: who fits is let in by both sides, who does not is told why, and tricks fail."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.network import handshake
from marfl_peer.network.connection import Connection
from marfl_peer.network.handshake import Doorman, Guest, Inbox, Introduction, Refused
from marfl_peer.network.identity import Identity
from marfl_peer.network.traffic import Traffic
from marfl_peer.protocol.frames import MAX_PAYLOAD_BYTES
from marfl_peer.protocol.messages import (
    PROTOCOL_VERSION,
    AnyMessage,
    Heartbeat,
    Hello,
    Proof,
    StatePart,
    StatusReply,
    encode,
)

INTRODUCTION = Introduction(
    role="peer", run_id="run", settings_digest="ab", schema_digest="cd", host="127.0.0.1", port=7700
)


async def until(condition: Callable[[], bool]) -> None:
    """Looks again at every turn of the loop; the run's own time limit ends it."""
    while not condition():  # noqa: ASYNC110 - what is awaited has no event, and is there in a turn or two
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[tuple[Connection, Inbox], tuple[Connection, Inbox]]]:
    """(dialler, listener), each a connection and its inbox."""
    loop = asyncio.get_running_loop()
    ends = []
    for _ in range(2):
        connection = Connection(
            traffic=Traffic(),
            on_frame=lambda *_: None,
            place=lambda _, length: memoryview(bytearray(length)),
            on_closed=lambda *_: None,
        )
        ends.append((connection, Inbox(connection)))
    dialler, listener = ends
    server = await loop.create_server(lambda: listener[0], "127.0.0.1", 0)
    await loop.create_connection(lambda: dialler[0], *server.sockets[0].getsockname())
    await until(lambda: listener[0].is_open)
    try:
        yield dialler, listener
    finally:
        server.close()
        for connection, _ in ends:
            connection.close()
            await connection.closed


async def greet(
    doorman: Doorman, end: tuple[Connection, Inbox], *, dialled: bool, nonce: bytes = b"n" * 16
) -> Guest | RemoteProtocolError:
    """The guest, or why there is none."""
    deadline = asyncio.get_running_loop().time() + 20
    try:
        return await doorman.greet(end[0], end[1], dialled=dialled, nonce=nonce, patience=asyncio.timeout_at(deadline))
    except RemoteProtocolError as error:
        return error


async def meet(dialler: Doorman, listener: Doorman) -> tuple[Guest | RemoteProtocolError, Guest | RemoteProtocolError]:
    async with pair() as (one, other):
        dialled, listened = await asyncio.gather(
            greet(dialler, one, dialled=True), greet(listener, other, dialled=False, nonce=b"m" * 16)
        )
        return dialled, listened


def doorman(identity: Identity | None = None, **changes: object) -> Doorman:
    return Doorman(identity or Identity.ephemeral(), dataclasses.replace(INTRODUCTION, **changes))


def test_handshake_of_two_that_fit_shows_who_the_other_is(on_both_loops) -> None:
    async def main() -> None:
        one, other = Identity.ephemeral(), Identity.ephemeral()
        dialled, listened = await meet(doorman(one), doorman(other, port=7701))
        assert isinstance(dialled, Guest)
        assert isinstance(listened, Guest)
        assert (dialled.peer_id, listened.peer_id) == (other.peer_id, one.peer_id)
        assert (dialled.hello.port, listened.hello.port) == (7701, 7700)
        assert dialled.hello.version == PROTOCOL_VERSION

    on_both_loops(main())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"run_id": "another"}, "other_run"),
        ({"settings_digest": "00"}, "other_settings"),
        ({"schema_digest": "00"}, "other_schema"),
    ],
)
def test_handshake_of_two_that_differ_is_refused_and_both_know_why(on_both_loops, changes, code) -> None:
    async def main() -> None:
        for dialler, listener in ((doorman(**changes), doorman()), (doorman(), doorman(**changes))):
            dialled, listened = await meet(dialler, listener)
            assert isinstance(listened, RemoteProtocolError)
            assert isinstance(dialled, Refused)
            assert (dialled.code, listened.code) == (code, code)
            assert not isinstance(listened, Refused), "the listener is the one that refuses"

    on_both_loops(main())


def test_handshake_with_another_version_names_both(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    class Newer(Doorman):
        def _hello(self, nonce: bytes) -> Hello:
            return msgspec.structs.replace(super()._hello(nonce), version=PROTOCOL_VERSION + 1)

    async def main() -> None:
        dialled, listened = await meet(Newer(Identity.ephemeral(), INTRODUCTION), doorman())
        assert isinstance(dialled, Refused)
        assert isinstance(listened, RemoteProtocolError)
        assert dialled.code == listened.code == "other_version"
        assert f"version {PROTOCOL_VERSION + 1} meets {PROTOCOL_VERSION}" in str(dialled)

    on_both_loops(main())


def test_handshake_with_oneself_is_refused(on_both_loops) -> None:
    async def main() -> None:
        identity = Identity.ephemeral()
        dialled, listened = await meet(doorman(identity), doorman(identity))
        assert isinstance(dialled, RemoteProtocolError)
        assert isinstance(listened, RemoteProtocolError)
        assert dialled.code == listened.code == "self"

    on_both_loops(main())


def test_observer_needs_neither_run_nor_model(on_both_loops) -> None:
    async def main() -> None:
        observer = doorman(role="observer", run_id="", settings_digest="", schema_digest="", host="", port=0)
        dialled, listened = await meet(observer, doorman())
        assert isinstance(dialled, Guest)
        assert isinstance(listened, Guest)
        assert listened.hello.role == "observer"

    on_both_loops(main())


def test_proof_with_another_key_is_refused(on_both_loops) -> None:
    """A dialler that shows the key of somebody else cannot sign with it."""

    class Impostor(Doorman):
        def _hello(self, nonce: bytes) -> Hello:
            return msgspec.structs.replace(super()._hello(nonce), public_key=Identity.ephemeral().public_key)

    async def main() -> None:
        dialled, listened = await meet(Impostor(Identity.ephemeral(), INTRODUCTION), doorman())
        assert isinstance(listened, RemoteProtocolError)
        assert listened.code == "bad_signature"
        assert isinstance(dialled, Guest), "its own check has nothing to complain about"
        dialled, listened = await meet(doorman(), Impostor(Identity.ephemeral(), INTRODUCTION))
        assert isinstance(dialled, RemoteProtocolError)
        assert isinstance(listened, Refused)
        assert dialled.code == listened.code == "bad_signature"

    on_both_loops(main())


def test_proof_of_another_connection_is_refused(on_both_loops) -> None:
    """Hello and proof, overheard and sent again with the same nonce, meet another nonce."""

    async def main() -> None:
        identity, listener = Identity.ephemeral(), doorman()
        overheard: list[AnyMessage] = []
        async with pair() as (one, other):
            put = other[0].on_frame

            def overhear(connection: Connection, message: AnyMessage, payload: memoryview) -> None:
                overheard.append(message)
                put(connection, message, payload)

            other[0].on_frame = overhear
            met = await asyncio.gather(
                greet(doorman(identity), one, dialled=True),
                greet(listener, other, dialled=False, nonce=b"1" * 16),
            )
            assert all(isinstance(guest, Guest) for guest in met)
        assert [type(message) for message in overheard] == [Hello, Proof]
        async with pair() as (one, other):
            for message in overheard:
                one[0].send(message)
            error = await greet(listener, other, dialled=False, nonce=b"2" * 16)
            assert isinstance(error, RemoteProtocolError)
            assert error.code == "bad_signature"

    on_both_loops(main())


def test_proof_of_the_listener_does_not_serve_the_dialler(on_both_loops) -> None:
    """Sent back to its maker, a listener's own hello is refused, and its proof is for its side alone."""

    async def main() -> None:
        class Mirror(Doorman):
            """Proves that it is the dialler with what a listener would sign."""

            def _prove(self, message: bytes) -> Proof:
                return super()._prove(message.replace(b"dialler", b"listener", 1))

        dialled, listened = await meet(Mirror(Identity.ephemeral(), INTRODUCTION), doorman())
        assert isinstance(dialled, Guest)
        assert isinstance(listened, RemoteProtocolError)
        assert listened.code == "bad_signature"

    on_both_loops(main())


def test_hello_changed_on_the_way_is_refused(on_both_loops) -> None:
    """The proofs sign both hellos: whoever changes one in between is found out."""

    class Moved(Doorman):
        """Signs the hello that it meant to send, not the one that arrives."""

        async def _exchange(self, connection, inbox, mine, *, dialled):
            send = connection.send

            def tamper(message, payload=b""):
                changed = isinstance(message, Hello)
                send(msgspec.structs.replace(message, port=1) if changed else message, payload)

            connection.send = tamper
            return await super()._exchange(connection, inbox, mine, dialled=dialled)

    async def main() -> None:
        dialled, listened = await meet(Moved(Identity.ephemeral(), INTRODUCTION), doorman())
        assert isinstance(dialled, RemoteProtocolError)
        assert dialled.code == "bad_signature"
        assert isinstance(listened, Refused)

    on_both_loops(main())


@pytest.mark.parametrize("first", [Heartbeat(), Proof(signature=b"s" * 64), StatusReply()])
def test_message_before_the_hello_is_refused(on_both_loops, first: AnyMessage) -> None:
    async def main() -> None:
        async with pair() as (one, other):
            one[0].send(first)
            error = await greet(doorman(), other, dialled=False)
            assert isinstance(error, RemoteProtocolError)
            assert error.code == "early_message"
            assert await refusal(one) == "early_message"

    on_both_loops(main())


async def refusal(end: tuple[Connection, Inbox]) -> str:
    """The code of the refusal that comes next."""
    try:
        await end[1].next(end[0], Hello)
    except Refused as error:
        return error.code
    raise AssertionError("not refused")


@pytest.mark.parametrize(("count", "payload_bytes"), [(20, 40), (5000, 10), (40, 200_000)])
def test_frames_right_behind_the_handshake_all_arrive_in_order(on_both_loops, count: int, payload_bytes: int) -> None:
    """A dialler is through first and may have much to say at once: it comes together with its proof."""

    async def main() -> None:
        sent = [
            (StatePart(iteration=1, offset=number), bytes([number % 251]) * payload_bytes) for number in range(count)
        ]
        received: list[tuple[AnyMessage, bytes]] = []
        whole = asyncio.Event()

        def receive(message: AnyMessage, payload: memoryview) -> None:
            received.append((message, bytes(payload)))
            if len(received) == count:
                whole.set()

        async with pair() as (one, other):

            async def listen() -> None:
                guest = await greet(doorman(), other, dialled=False)
                assert isinstance(guest, Guest)
                for message, payload in guest.early:
                    receive(message, payload)
                other[0].on_frame = lambda _, message, payload: receive(message, payload)
                other[0].place = lambda _, length: memoryview(bytearray(length))

            async def dial() -> None:
                assert isinstance(await greet(doorman(), one, dialled=True), Guest)
                for message, payload in sent:
                    one[0].send(message, payload)

            await asyncio.gather(listen(), dial())
            await whole.wait()
            assert received == sent
            assert other[1].held_bytes < handshake.MAX_EARLY_BYTES + 2 * MAX_PAYLOAD_BYTES

    on_both_loops(main())


@pytest.mark.parametrize("said", [0, 1])
def test_payload_before_the_proof_is_refused_unread(on_both_loops, said: int) -> None:
    """Whoever it is could make this side hold memory: with every frame of every connection."""

    async def main() -> None:
        async with pair() as (one, other):
            for _ in range(said):
                one[0].send(doorman()._hello(b"n" * 16))
            for _ in range(40):
                one[0].send(StatusReply(), b"x" * 200_000)
            error = await greet(doorman(), other, dialled=False)
            assert isinstance(error, RemoteProtocolError)
            assert error.code == "early_message"
            assert other[1].held_bytes == 0
            one[0].fail(ConnectionAbortedError())

    on_both_loops(main())


def test_garbage_instead_of_a_hello_says_what_was_wrong(on_both_loops) -> None:
    async def main() -> None:
        async with pair() as (one, other):
            assert one[0]._transport is not None
            one[0]._transport.write(b"GET / HTTP/1.1\r\n\r\n")
            error = await greet(doorman(), other, dialled=False)
            assert isinstance(error, RemoteProtocolError)
            assert error.code == "bad_frame"

    on_both_loops(main())


def test_end_of_the_connection_during_the_handshake_is_no_fault(on_both_loops) -> None:
    async def main() -> None:
        async with pair() as (one, other):
            one[0].close()
            error = await greet(doorman(), other, dialled=False)
            assert isinstance(error, Refused)
            assert error.code == "closed"

    on_both_loops(main())


def test_silence_ends_at_the_deadline(on_both_loops) -> None:
    async def main() -> None:
        async with pair() as (_, other):
            now = asyncio.get_running_loop().time()
            with pytest.raises(TimeoutError):
                await doorman().greet(
                    other[0], other[1], dialled=False, nonce=b"n" * 16, patience=asyncio.timeout_at(now)
                )
            assert not other[0].is_open

    on_both_loops(main())


def test_nonce_is_part_of_what_is_signed() -> None:
    one = doorman()
    assert encode(one._hello(b"1" * 16)) != encode(one._hello(b"2" * 16))
