"""Observers: answered, sent away when idle or too many, and never taken for a peer."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest
from linked_nodes import Node, swarm, until

from marfl_peer.network import guests as guests_module
from marfl_peer.network.connection import Connection
from marfl_peer.network.handshake import Doorman, Inbox, Introduction
from marfl_peer.network.identity import Identity
from marfl_peer.network.traffic import Traffic
from marfl_peer.protocol.messages import (
    AnyMessage,
    Goodbye,
    Refusal,
    StatusReply,
    StatusRequest,
)


@contextlib.asynccontextmanager
async def observer(node: Node) -> AsyncIterator[tuple[Connection, asyncio.Queue[AnyMessage]]]:
    answers: asyncio.Queue[AnyMessage] = asyncio.Queue()
    connection = Connection(
        traffic=Traffic(),
        on_frame=lambda *_: None,
        place=lambda _, length: memoryview(bytearray(length)),
        on_closed=lambda *_: None,
    )
    inbox = Inbox(connection)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: connection, "127.0.0.1", node.port)
    introduction = Introduction(role="observer", run_id="", settings_digest="", schema_digest="", host="", port=0)
    doorman = Doorman(Identity.ephemeral(), introduction)
    await doorman.greet(
        connection, inbox, dialled=True, nonce=os.urandom(16), patience=asyncio.timeout_at(loop.time() + 20)
    )
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
            node.links._watch.look(asyncio.get_running_loop().time() + guests_module.GUEST_S + 1, 0.0)
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


def test_observer_too_many_is_told_so(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests_module, "MAX_GUESTS", 1)

    async def main() -> None:
        node = Node()
        async with swarm(node), observer(node) as (connection, answers):
            await until(lambda: len(node.links._guests) == 1)
            async with observer(node) as (_, others_answers):
                answer = await others_answers.get()
                assert isinstance(answer, Refusal)
                assert answer.code == "too_many"
            assert node.refusals() == [("too_many", True)]
            assert len(node.links._guests) == 1
            connection.send(StatusRequest())
            assert await answers.get() == StatusReply()

    on_both_loops(main())
