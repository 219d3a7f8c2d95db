"""Peers that only have links, on loopback, and what the tests of links have them say."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

from marfl_peer.clock import Clock
from marfl_peer.facts import ConnectionRefused, Fact
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.network.handshake import Doorman, Introduction
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links
from marfl_peer.network.traffic import Traffic
from marfl_peer.protocol.messages import (
    AnyMessage,
    StatePart,
    StatusReply,
)

INTRODUCTION = Introduction(
    role="peer", run_id="run", settings_digest="ab", schema_digest="cd", host="127.0.0.1", port=0
)


class Node:
    """A peer that only has links, and notes what it hears."""

    knows_neighbours = True
    """Of those that are made from now on."""

    def __init__(self, identity: Identity | None = None, *, listens: bool = True, **changes: Any) -> None:
        """One that does not listen says so: nobody is to dial it."""
        self.identity = identity or Identity.ephemeral()
        self.me = self.identity.peer_id
        self.frames: list[tuple[PeerId, AnyMessage, bytes]] = []
        self.events: list[tuple[str, PeerId]] = []
        self.facts: list[Fact] = []
        self.reasons: list[str] = []
        """Why peers were lost."""
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
            listens=listens,
            knows_neighbours=self.knows_neighbours,
        )
        self.listens = listens

    async def open(self) -> None:
        self.port = await self.links.listen("127.0.0.1", 0)
        doorman = self.links.doorman
        doorman.introduction = dataclasses.replace(doorman.introduction, port=self.port if self.listens else 0)

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

    def interrupted(self, peer: PeerId) -> None:
        self._happened("interrupted", peer)

    def offended(self, peer: PeerId) -> None:
        self._happened("offended", peer)

    def lost(self, peer: PeerId, reason: str) -> None:
        self.reasons.append(reason)
        self._happened("lost", peer)

    def iteration(self) -> int:
        return 7

    def company(self) -> int:
        return 1

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
            self.links.learn(other.me, ("127.0.0.1", other.port) if other.listens else None)


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


def part(number: int) -> StatePart:
    return StatePart(iteration=1, offset=number)
