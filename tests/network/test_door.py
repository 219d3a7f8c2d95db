"""Strangers at the door, on both event loops: let in, told why not, and never held for long."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import random
import socket

import pytest
from linked_nodes import INTRODUCTION, Node, part, swarm, two, until

from marfl_peer.clock import Clock
from marfl_peer.errors import ConfigError
from marfl_peer.facts import Fact
from marfl_peer.network import door as door_module
from marfl_peer.network import links as links_module
from marfl_peer.network.connection import Connection
from marfl_peer.network.door import Door
from marfl_peer.network.handshake import Doorman
from marfl_peer.network.identity import Identity
from marfl_peer.network.tasks import Tasks
from marfl_peer.network.traffic import Traffic
from marfl_peer.network.waking import Waking
from marfl_peer.protocol.frames import frame_head
from marfl_peer.protocol.messages import (
    Heartbeat,
    StatusRequest,
    encode,
)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Politeness is measured in turns of the loop here."""
    monkeypatch.setattr(links_module, "POLITE_S", 0.02)


def hello_of(doorman: Doorman) -> bytes:
    return whole(encode(doorman._hello(b"n" * 16)))


def whole(header: bytes, payload: bytes = b"") -> bytes:
    return frame_head(header, len(payload)) + payload


async def knock(node: Node, text: bytes, *, then_close: bool = False) -> bytes:
    """Sends bytes to the node's port and returns all that it answers before it closes."""
    loop = asyncio.get_running_loop()
    with socket.socket() as plain:
        plain.setblocking(False)
        await loop.sock_connect(plain, ("127.0.0.1", node.port))
        answer = b""
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(plain, text)
            if then_close:
                plain.shutdown(socket.SHUT_WR)
            while received := await loop.sock_recv(plain, 65536):
                answer += received
        return answer


async def assert_serves(node: Node) -> None:
    """A peer that fits is let in as before."""
    guest = Node()
    async with swarm(guest):
        guest.knows(node)
        count = len(node.frames)
        guest.links.send(node.me, part(1))
        await node.until(lambda: len(node.frames) == count + 1)


HOSTILE = {
    "garbage": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "bad_frame"),
    "oversized header": (b"\x93\xcd\xff\xff" + b"x" * 100, "oversized_frame"),
    "oversized payload": (whole(encode(Heartbeat()))[:-4] + b"\x7f\xff\xff\xff", "oversized_frame"),
    "not a message": (whole(b"\x91\xa1X"), "bad_message"),
    "another message first": (whole(encode(StatusRequest())), "early_message"),
    "payload first": (whole(encode(part(0)), b"x" * 200_000), "early_message"),
    "payload behind the hello": (
        hello_of(Doorman(Identity.ephemeral(), INTRODUCTION)) + whole(encode(part(0)), b"x" * 10),
        "early_message",
    ),
    "flood behind the hello": (
        hello_of(Doorman(Identity.ephemeral(), INTRODUCTION)) + whole(encode(part(0)), b"x") * 500,
        "early_message",
    ),
    "another run": (
        hello_of(Doorman(Identity.ephemeral(), dataclasses.replace(INTRODUCTION, run_id="x"))),
        "other_run",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_stranger_that_does_not_fit_is_turned_away_and_counted(on_both_loops, name: str) -> None:
    text, code = HOSTILE[name]

    async def main() -> None:
        node = Node()
        async with swarm(node):
            await knock(node, text)
            await node.until(lambda: node.refusals() != [])
            assert node.refusals() == [(code, True)]
            assert node.links._door.strangers == {}
            assert node.frames == []
            await assert_serves(node)

    on_both_loops(main())


def test_random_bytes_at_the_door_do_no_harm(on_both_loops) -> None:
    draw = random.Random(7)
    blobs = [draw.randbytes(draw.randrange(1, 3000)) for _ in range(200)]

    async def main() -> None:
        node = Node()
        async with swarm(node):
            for start in range(0, 200, 20):
                await asyncio.gather(*(knock(node, blob, then_close=True) for blob in blobs[start : start + 20]))
            # too short to be judged: closed, and nothing to count
            judged = sum(len(blob) >= 4 for blob in blobs)
            await node.until(lambda: len(node.refusals()) >= judged)
            assert {code for code, by_us in node.refusals() if by_us} <= {"bad_frame", "oversized_frame"}
            assert node.links._door.strangers == {}
            await assert_serves(node)

    on_both_loops(main())


def test_frame_that_ends_early_is_forgotten(on_both_loops) -> None:
    async def main() -> None:
        node = Node()
        async with swarm(node):
            text = hello_of(Doorman(Identity.ephemeral(), INTRODUCTION))
            for length in range(0, len(text), 7):
                await knock(node, text[:length], then_close=True)
            assert node.refusals() == []
            await until(lambda: not node.links._door.strangers)
            await assert_serves(node)

    on_both_loops(main())


def test_stranger_that_says_nothing_is_sent_away(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "handshake_s", lambda lag_s, company: 0.05)

    async def main() -> None:
        node = Node()
        async with swarm(node):
            assert await knock(node, b"") == b""
            await node.until(lambda: node.refusals() == [("silent", True)])

    on_both_loops(main())


def test_more_strangers_than_fit_are_told_so(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "MAX_STRANGERS", 3)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        node = Node()
        async with swarm(node):
            silent = []
            for _ in range(3):
                plain = socket.socket()
                plain.setblocking(False)
                await loop.sock_connect(plain, ("127.0.0.1", node.port))
                silent.append(plain)
            await until(lambda: len(node.links._door.strangers) == 3)
            assert b"too_many" in await knock(node, b"")
            assert node.refusals() == [("too_many", True)]
            assert len(node.links._door.strangers) == 3
            for plain in silent:
                plain.close()
            await until(lambda: not node.links._door.strangers)
            await assert_serves(node)

    on_both_loops(main())


def test_listen_where_somebody_listens_is_a_config_error(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one):
            with pytest.raises(ConfigError, match="choose another"):
                await other.links.listen("127.0.0.1", one.port)

    on_both_loops(main())


class Hall:
    """A door alone: who comes in, and what is told."""

    def __init__(self) -> None:
        self.identity = Identity.ephemeral()
        self.tasks = Tasks()
        self.facts: list[Fact] = []
        self.admitted: list[tuple[Connection, str, bool]] = []
        self.door = Door(
            me=self.identity.peer_id,
            knows_neighbours=False,
            doorman=Doorman(self.identity, INTRODUCTION),
            admit=lambda connection, guest, dialled: self.admitted.append((connection, guest.peer_id, dialled)),
            lag_s=lambda: 0.0,
            company=lambda: 1,
            tasks=self.tasks,
            traffic=Traffic(),
            tell=self.facts.append,
            clock=Clock(),
            nonce=lambda: os.urandom(16),
            waking=Waking(Clock()),
        )

    async def close(self) -> None:
        self.door.shut()
        await self.tasks.close()
        for connection, _, _ in self.admitted:
            connection.close()
            await connection.closed


def test_dial_brings_both_sides_together_and_leaves_no_strangers(on_both_loops) -> None:
    async def main() -> None:
        one, other = Hall(), Hall()
        port = await one.door.open("127.0.0.1", 0)
        assert await other.door.dial(one.identity.peer_id, ("127.0.0.1", port)) == ""
        await until(lambda: bool(one.admitted))
        assert [entry[1:] for entry in one.admitted] == [(other.identity.peer_id, False)]
        assert [entry[1:] for entry in other.admitted] == [(one.identity.peer_id, True)]
        assert one.door.strangers == other.door.strangers == {}
        assert one.facts == other.facts == []
        await other.close()
        await one.close()

    on_both_loops(main())


def test_dial_where_nobody_listens_says_why_not(on_both_loops) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        hall = Hall()
        assert await hall.door.dial(Hall().identity.peer_id, ("127.0.0.1", port))
        assert hall.admitted == []
        assert hall.door.strangers == {}
        await hall.close()

    on_both_loops(main())


def test_guest_that_is_through_when_the_door_is_shut_stays_outside(on_both_loops) -> None:
    async def main() -> None:
        one, other = Hall(), Hall()
        port = await one.door.open("127.0.0.1", 0)
        other.door.shut()  # it dials nevertheless
        assert await other.door.dial(one.identity.peer_id, ("127.0.0.1", port)) == ""
        assert other.admitted == []
        assert other.door.strangers == {}
        await until(lambda: not one.door.strangers)
        await one.close()
        await other.close()

    on_both_loops(main())


def test_clear_sends_strangers_away(on_both_loops) -> None:
    async def main() -> None:
        hall = Hall()
        port = await hall.door.open("127.0.0.1", 0)
        loop = asyncio.get_running_loop()
        with socket.socket() as plain:
            plain.setblocking(False)
            await loop.sock_connect(plain, ("127.0.0.1", port))
            await until(lambda: len(hall.door.strangers) == 1)
            hall.door.clear()
            assert await loop.sock_recv(plain, 100) == b""
            await until(lambda: not hall.door.strangers)
        await hall.close()

    on_both_loops(main())
