"""The pool of connections on loopback, on both event loops: kept, dialled again, watched; strangers turned away."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from marfl_peer.clock import Clock
from marfl_peer.errors import ConfigError, RemoteProtocolError
from marfl_peer.facts import ConnectionRefused, Fact, RemoteFault
from marfl_peer.ids import PeerId
from marfl_peer.network import links as links_module
from marfl_peer.network.connection import Connection
from marfl_peer.network.handshake import Doorman, Inbox, Introduction
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links, bind_both
from marfl_peer.network.traffic import Traffic
from marfl_peer.protocol.frames import frame_head
from marfl_peer.protocol.messages import (
    AnyMessage,
    Events,
    Goodbye,
    Heartbeat,
    StatePart,
    StateRequest,
    StatusReply,
    StatusRequest,
    encode,
)

INTRODUCTION = Introduction(
    role="peer", run_id="run", settings_digest="ab", schema_digest="cd", host="127.0.0.1", port=0
)


class Node:
    """A peer that only has links, and notes what it hears."""

    def __init__(self, identity: Identity | None = None, **changes: Any) -> None:
        self.identity = identity or Identity.ephemeral()
        self.me = self.identity.peer_id
        self.frames: list[tuple[PeerId, AnyMessage, bytes]] = []
        self.events: list[tuple[str, PeerId]] = []
        self.facts: list[Fact] = []
        self.changed = asyncio.Event()
        self.on_heard: Callable[[AnyMessage], None] = lambda message: None
        self.port = 0
        self.links = Links(
            me=self.me,
            doorman=Doorman(self.identity, dataclasses.replace(INTRODUCTION, **changes)),
            listener=self,
            traffic=Traffic(),
            tell=self.note,
            clock=Clock(),
            nonce=lambda: os.urandom(16),
        )

    async def open(self) -> None:
        self.port = await self.links.listen("127.0.0.1", 0)
        doorman = self.links.doorman
        doorman.introduction = dataclasses.replace(doorman.introduction, port=self.port)

    def note(self, fact: Fact) -> None:
        self.facts.append(fact)
        self.changed.set()

    def heard(self, peer: PeerId, message: AnyMessage, payload: memoryview) -> None:
        self.frames.append((peer, message, bytes(payload)))
        self.changed.set()
        self.on_heard(message)

    def room(self, peer: PeerId, message: AnyMessage, length: int) -> memoryview:
        return memoryview(bytearray(length))

    def asked(self, connection: Connection, message: AnyMessage) -> None:
        connection.send(StatusReply(), b"fine")

    def up(self, peer: PeerId) -> None:
        self._happened("up", peer)

    def down(self, peer: PeerId) -> None:
        self._happened("down", peer)

    def lost(self, peer: PeerId, reason: str) -> None:
        self._happened("lost", peer)

    def _happened(self, what: str, peer: PeerId) -> None:
        self.events.append((what, peer))
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    def refusals(self) -> list[tuple[str, bool]]:
        return [(fact.code, fact.by_us) for fact in self.facts if isinstance(fact, ConnectionRefused)]

    def offsets(self) -> list[int]:
        return [message.offset for _, message, _ in self.frames if isinstance(message, StatePart)]

    def connections(self, peer: PeerId) -> list[Connection]:
        return self.links._links[peer].connections()

    def knows(self, *others: Node) -> None:
        for other in others:
            self.links.learn(other.me, ("127.0.0.1", other.port))


async def until(condition: Callable[[], bool]) -> None:
    """Looks again at every turn of the loop; the run's own time limit ends it."""
    while not condition():  # noqa: ASYNC110 - what is awaited has no event, and is there in a turn or two
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def swarm(*nodes: Node) -> AsyncIterator[None]:
    """Listens, in the order of the ids, and closes at the end."""
    for node in nodes:
        await node.open()
    try:
        yield
    finally:
        for node in nodes:
            await node.links.close()


def two() -> tuple[Node, Node]:
    """(lower id, higher id)."""
    one, other = sorted((Node(), Node()), key=lambda node: node.me)
    return one, other


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Politeness is measured in turns of the loop here."""
    monkeypatch.setattr(links_module, "POLITE_S", 0.02)


def part(number: int) -> StatePart:
    return StatePart(iteration=1, offset=number)


# talking


def test_send_dials_and_delivers_what_waited_in_order(on_both_loops) -> None:
    async def main() -> None:
        for low_first in (True, False):
            one, other = two() if low_first else two()[::-1]
            async with swarm(one, other):
                one.knows(other)
                for number in range(50):
                    one.links.send(other.me, part(number), b"x" * number)
                await other.until(lambda other=other: len(other.frames) == 50)
                assert other.offsets() == list(range(50))
                assert [payload for _, _, payload in other.frames] == [b"x" * number for number in range(50)]
                assert {sender for sender, _, _ in other.frames} == {one.me}
                assert one.links.connected() == [other.me]
                assert one.links.is_connected(other.me)
                assert one.events == [("up", other.me)]

    on_both_loops(main())


def test_answer_goes_back_over_the_connection_that_was_dialled(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.send(other.me, part(1))
            await other.until(lambda: len(other.frames) == 1)
            other.links.send(one.me, part(2))
            await one.until(lambda: len(one.frames) == 1)
            assert len(one.connections(other.me)) == 1

    on_both_loops(main())


def test_simultaneous_dials_deliver_every_message_once(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is polite: both dial at once, and go on sending while one connection takes over from the other."""
    monkeypatch.setattr(links_module, "POLITE_S", 0.0)

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            other.knows(one)
            one.links.connect(other.me)
            other.links.connect(one.me)
            for number in range(300):
                one.links.send(other.me, part(number))
                other.links.send(one.me, part(number))
                if number % 10 == 0:
                    await asyncio.sleep(0)
            for node in (one, other):
                await node.until(lambda node=node: len(node.frames) == 300)
                assert sorted(node.offsets()) == list(range(300))
                assert ("lost", one.me) not in node.events
                assert ("down", one.me) not in node.events
            # From here on both use the connection that the lower id dialled: order is kept.
            for number in range(300, 400):
                one.links.send(other.me, part(number))
                other.links.send(one.me, part(number))
            for node in (one, other):
                await node.until(lambda node=node: len(node.frames) == 400)
                assert node.offsets()[300:] == list(range(300, 400))
            assert one.links._links[other.me].best is not None
            best_of_one, best_of_other = one.connections(other.me)[0], other.connections(one.me)[0]
            assert best_of_one.remote == f"127.0.0.1:{other.port}", "dialled by the lower id"
            assert best_of_other.remote != f"127.0.0.1:{one.port}"

    on_both_loops(main())


def test_other_connection_takes_over_when_the_best_one_breaks(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "POLITE_S", 0.0)

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            other.knows(one)
            one.links.connect(other.me)
            other.links.connect(one.me)
            await one.until(lambda: ("up", other.me) in one.events)
            await until(lambda: len(one.connections(other.me)) == len(other.connections(one.me)) == 2)
            one.connections(other.me)[0].fail(ConnectionAbortedError())
            await until(lambda: len(one.connections(other.me)) == len(other.connections(one.me)) == 1)
            one.links.send(other.me, part(7))
            await other.until(lambda: other.offsets() == [7])
            assert [what for what, _ in one.events] == ["up"]

    on_both_loops(main())


def test_bytes_sent_are_the_bytes_that_the_other_side_received(on_both_loops) -> None:
    """Handshake and goodbye included."""

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            for number in range(20):
                one.links.send(other.me, part(number), b"x" * 10_000)
            await other.until(lambda: len(other.frames) == 20)
            other.links.send(one.me, StateRequest(at_least=1))
            await one.until(lambda: len(one.frames) == 1)
            ends = [one.connections(other.me)[0], other.connections(one.me)[0]]
            one.links.forget(other.me)
            await asyncio.wait([end.closed for end in ends])
        assert sum(one.links.traffic.sent.values()) == other.links.traffic.received_bytes
        assert sum(other.links.traffic.sent.values()) == one.links.traffic.received_bytes
        assert one.links.traffic.sent["state"] > 200_000
        assert one.links.traffic.sent["tensor"] == 0

    on_both_loops(main())


def test_flood_reaches_all_but_one(on_both_loops) -> None:
    async def main() -> None:
        hub, *others = nodes = [Node() for _ in range(4)]
        async with swarm(*nodes):
            hub.knows(*others)
            for other in others:
                hub.links.connect(other.me)
            await hub.until(lambda: len(hub.links.connected()) == 3)
            hub.links.flood(Events(), b"news", but=others[1].me)
            hub.links.send(others[1].me, part(1))
            for other in others:
                await other.until(lambda other=other: len(other.frames) == 1)
            assert [type(other.frames[0][1]) for other in others] == [Events, StatePart, Events]

    on_both_loops(main())


def test_stream_hands_out_the_connection_or_nothing(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        used: list[Connection] = []

        async def frames(connection: Connection) -> None:
            used.append(connection)
            for number in range(5):
                assert await connection.drained()
                connection.send(part(number), b"x" * 100_000)

        async with swarm(one, other):
            await one.links.stream(other.me, frames)
            assert used == []
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            await one.links.stream(other.me, frames)
            await other.until(lambda: other.offsets() == list(range(5)))

    on_both_loops(main())


def test_peer_does_not_dial_itself(on_loop) -> None:
    async def main() -> None:
        node = Node()
        async with swarm(node):
            node.links.learn(node.me, ("127.0.0.1", node.port))
            node.links.connect(node.me)
            node.links.send(node.me, part(1))
            assert node.links._links[node.me].dialling is None

    on_loop(main())


# breaking


def test_broken_connection_is_dialled_again_and_nobody_is_lost(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            await other.until(lambda: other.links.is_connected(one.me))
            one.connections(other.me)[0].fail(ConnectionAbortedError())
            for node, mate in ((one, other), (other, one)):
                await node.until(lambda node=node, mate=mate: node.events.count(("up", mate.me)) == 2)
                assert node.events[:3] == [("up", mate.me), ("down", mate.me), ("up", mate.me)]
                assert ("lost", mate.me) not in node.events
            one.links.send(other.me, part(1))
            await other.until(lambda: other.offsets() == [1])

    on_both_loops(main())


def test_peer_that_is_gone_is_lost_once_the_redial_is_refused(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            await other.until(lambda: other.links.is_connected(one.me))
            assert other.links._server is not None
            other.links._server.close()
            other.links._closing = True  # as a killed process: it neither dials nor says goodbye
            for connection in other.connections(one.me):
                connection.fail(ConnectionAbortedError())
            await one.until(lambda: ("lost", other.me) in one.events)
            assert one.events == [("up", other.me), ("down", other.me), ("lost", other.me)]

    on_both_loops(main())


def test_peer_nobody_listens_for_is_lost_and_its_queue_forgotten(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        async with swarm(one):
            one.links.learn(other.me, ("127.0.0.1", port))
            one.links.send(other.me, part(1))
            await one.until(lambda: one.events == [("lost", other.me)])
            assert len(one.links._links[other.me].queue) == 0

    on_both_loops(main())


def test_peer_without_an_address_is_lost(on_loop) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one):
            one.links.send(other.me, part(1))
            await one.until(lambda: one.events == [("lost", other.me)])

    on_loop(main())


def test_address_where_somebody_else_answers_is_refused(on_both_loops) -> None:
    async def main() -> None:
        one, other, third = Node(), Node(), Node()
        async with swarm(one, other):
            one.links.learn(third.me, ("127.0.0.1", other.port))
            one.links.send(third.me, part(1))
            await one.until(lambda: ("lost", third.me) in one.events)
            assert one.refusals() == [("other_peer", True)]

    on_both_loops(main())


def test_peer_that_refuses_us_is_lost_and_both_count_it(on_both_loops) -> None:
    async def main() -> None:
        one, other = Node(), Node(settings_digest="00")
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: ("lost", other.me) in one.events)
            await other.until(lambda: other.refusals() != [])
            assert one.refusals() == [("other_settings", False)]
            assert other.refusals() == [("other_settings", True)]
            assert other.events == []

    on_both_loops(main())


def test_dial_that_nobody_answers_in_time_frees_its_place(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "DIAL_S", 0.0)

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: ("lost", other.me) in one.events)
            assert one.links._strangers == set()

    on_both_loops(main())


def test_goodbye_is_no_loss(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            await other.until(lambda: other.links.is_connected(one.me))
            await other.links.close()
            await one.until(lambda: ("down", other.me) in one.events)
            assert one.links._links[other.me].dialling is None
            assert one.events == [("up", other.me), ("down", other.me)]

    on_both_loops(main())


def test_forgotten_peer_is_not_lost_and_can_be_dialled_again(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.send(other.me, part(1))
            await other.until(lambda: other.offsets() == [1])
            one.links.forget(other.me)
            await other.until(lambda: ("down", one.me) in other.events)
            assert ("lost", one.me) not in other.events
            assert one.links.connected() == []
            one.knows(other)
            one.links.send(other.me, part(2))
            await other.until(lambda: other.offsets() == [1, 2])
            assert ("lost", other.me) not in one.events

    on_both_loops(main())


def test_peer_that_breaks_the_rules_is_dropped_counted_and_lost(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()

        def refuse(message: AnyMessage) -> None:
            raise RemoteProtocolError("bad_span", "not awaited")

        async with swarm(one, other):
            other.on_heard = refuse
            one.knows(other)
            one.links.send(other.me, part(1))
            await other.until(lambda: ("lost", one.me) in other.events)
            assert [(fact.code, fact.remote) for fact in other.facts if isinstance(fact, RemoteFault)] == [
                ("bad_span", one.me)
            ]

    on_both_loops(main())


def test_drop_ends_the_connection_as_a_fault(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            one.links.drop(other.me, RemoteProtocolError("not_finite", "values"))
            await one.until(lambda: ("lost", other.me) in one.events)
            assert [fact.code for fact in one.facts if isinstance(fact, RemoteFault)] == ["not_finite"]

    on_both_loops(main())


# watching


def test_silent_peer_is_lost(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket stays open, as that of a stopped process or a host without power."""
    monkeypatch.setattr(links_module, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(links_module, "silence_s", lambda lag_s: 0.3)
    monkeypatch.setattr(links_module, "HANDSHAKE_S", 0.2)

    async def deaf(connection: Connection, inbox: Inbox) -> None:
        await connection.closed

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            await other.until(lambda: other.links.is_connected(one.me))
            other.links._tasks.cancel()  # no heartbeats any more, and no watching either
            monkeypatch.setattr(other.links, "_receive", deaf)  # its kernel still accepts
            monkeypatch.setattr(other.links, "connect", lambda peer: None)
            await one.until(lambda: ("lost", other.me) in one.events)
            assert one.events == [("up", other.me), ("down", other.me), ("lost", other.me)]

    on_both_loops(main())


def test_heartbeats_keep_idle_connections(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "HEARTBEAT_S", 0.02)

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            before = other.links.traffic.received_bytes
            beat = len(frame_head(encode(Heartbeat())))
            await until(lambda: other.links.traffic.received_bytes >= before + 20 * beat)
            assert one.events == [("up", other.me)]
            assert other.frames == [], "heartbeats are the links' own affair"

    on_both_loops(main())


def test_watch_after_a_lag_of_its_own_calls_nobody_silent(on_loop) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            now = asyncio.get_running_loop().time()
            one.links._watch(now + 60.0, 60.0)
            assert one.connections(other.me)[0].is_open
            one.links._watch(now + 60.0, 0.0)
            assert not one.connections(other.me)[0].is_open

    on_loop(main())


# the door


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
            assert node.links._strangers == set()
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
            assert node.links._strangers == set()
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
            await until(lambda: not node.links._strangers)
            await assert_serves(node)

    on_both_loops(main())


def test_stranger_that_says_nothing_is_sent_away(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "HANDSHAKE_S", 0.05)

    async def main() -> None:
        node = Node()
        async with swarm(node):
            assert await knock(node, b"") == b""
            await node.until(lambda: node.refusals() == [("silent", True)])

    on_both_loops(main())


def test_more_strangers_than_fit_are_told_so(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "MAX_STRANGERS", 3)

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
            await until(lambda: len(node.links._strangers) == 3)
            assert b"too_many" in await knock(node, b"")
            assert node.refusals() == [("too_many", True)]
            assert len(node.links._strangers) == 3
            for plain in silent:
                plain.close()
            await until(lambda: not node.links._strangers)
            await assert_serves(node)

    on_both_loops(main())


@contextlib.asynccontextmanager
async def observer(node: Node) -> AsyncIterator[tuple[Connection, asyncio.Queue[AnyMessage]]]:
    answers: asyncio.Queue[AnyMessage] = asyncio.Queue()
    connection = Connection(
        traffic=Traffic(),
        on_frame=lambda *_: None,
        place=lambda _, __, length: memoryview(bytearray(length)),
        on_closed=lambda *_: None,
    )
    inbox = Inbox(connection)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: connection, "127.0.0.1", node.port)
    introduction = Introduction(role="observer", run_id="", settings_digest="", schema_digest="", host="", port=0)
    doorman = Doorman(Identity.ephemeral(), introduction)
    await doorman.greet(connection, inbox, dialled=True, nonce=os.urandom(16), deadline=loop.time() + 20)
    connection.on_frame = lambda _, message, __: answers.put_nowait(message)
    yield connection, answers
    connection.send(Goodbye())
    connection.close()
    await connection.closed


def test_observer_gets_answers_and_is_no_peer(on_both_loops) -> None:
    async def main() -> None:
        node = Node()
        async with swarm(node):
            async with observer(node) as (connection, answers):
                for _ in range(3):
                    connection.send(StatusRequest())
                    assert await answers.get() == StatusReply()
                assert node.links.connected() == []
            await until(lambda: not node.links._guests)
            assert node.events == []
            assert node.facts == []

    on_both_loops(main())


def test_observer_that_asks_nothing_is_sent_away(on_loop) -> None:
    async def main() -> None:
        node = Node()
        async with swarm(node), observer(node) as (connection, _):
            await until(lambda: node.links._guests)
            node.links._watch(asyncio.get_running_loop().time() + links_module.GUEST_S + 1, 0.0)
            await connection.closed

    on_loop(main())


def test_close_ends_observers_too(on_both_loops) -> None:
    async def main() -> None:
        node = Node()
        await node.open()
        async with observer(node) as (connection, _):
            await until(lambda: node.links._guests)
            await node.links.close()
            await connection.closed

    on_both_loops(main())


def test_listen_where_somebody_listens_is_a_config_error(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one):
            with pytest.raises(ConfigError, match="choose another"):
                await other.links.listen("127.0.0.1", one.port)

    on_both_loops(main())


def test_bind_both_finds_a_port_that_is_free_for_both() -> None:
    port = bind_both("127.0.0.1")
    with socket.create_server(("127.0.0.1", port)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", port))
