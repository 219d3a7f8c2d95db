"""Asking a peer something without being one: an observer's connection, one question, one answer."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec

from marfl_peer.errors import DhtError, RemoteProtocolError
from marfl_peer.network.connection import Connection
from marfl_peer.network.handshake import Doorman, Inbox, Introduction
from marfl_peer.network.identity import Identity
from marfl_peer.network.traffic import Traffic
from marfl_peer.protocol.messages import AnyMessage, Goodbye, Message, RunReply, RunRequest, StatusReply, StatusRequest


class NoAnswer(DhtError):
    """Nobody answers at an address. `reason`: in a few words."""

    code = "no_answer"

    def __init__(self, message: str, *, reason: str = "no answer") -> None:
        super().__init__(message)
        self.reason = reason


_OBSERVER = Introduction(role="observer", run_id="", settings_digest="", schema_digest="", host="", port=0)


async def ask_status(host: str, port: int, timeout_s: float = 5.0) -> dict[str, Any]:
    """What the peer at this address tells of itself. Raises: NoAnswer, RemoteProtocolError."""
    payload = await inquire(host, port, StatusRequest(), StatusReply, timeout_s)
    try:
        status = msgspec.json.decode(payload)
    except msgspec.DecodeError as error:
        raise RemoteProtocolError("bad_message", f"a status that is not JSON: {error}") from None
    if not isinstance(status, dict):
        raise RemoteProtocolError("bad_message", "a status that is no object")
    return status


async def ask_run(host: str, port: int, timeout_s: float = 5.0) -> bytes:
    """The encoded run record of the peer at this address. Raises: NoAnswer, RemoteProtocolError."""
    return await inquire(host, port, RunRequest(), RunReply, timeout_s)


async def inquire(host: str, port: int, question: Message, answer: type[Message], timeout_s: float) -> bytes:
    """The payload of the answer to one question."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    replies: asyncio.Queue[tuple[AnyMessage, bytes]] = asyncio.Queue()
    connection = Connection(
        traffic=Traffic(),
        on_frame=lambda *_: None,
        place=lambda _, length: memoryview(bytearray(length)),
        on_closed=lambda *_: None,
    )
    inbox = Inbox(connection)
    identity = Identity.ephemeral()
    try:
        async with asyncio.timeout_at(deadline):
            await loop.create_connection(lambda: connection, host, port)
            doorman = Doorman(identity, _OBSERVER)
            guest = await doorman.greet(
                connection, inbox, dialled=True, nonce=os.urandom(16), patience=asyncio.timeout_at(deadline)
            )
            for message, early in guest.early:
                replies.put_nowait((message, bytes(early)))
            connection.on_frame = lambda _, message, payload: replies.put_nowait((message, bytes(payload)))
            connection.place = lambda _, length: memoryview(bytearray(length))
            connection.send(question)
            payload = await _reply(connection, replies, answer)
            connection.send(Goodbye())
            return payload
    except (OSError, TimeoutError) as error:
        reason = _reason(error)
        text = f"{host}:{port} does not answer ({reason}): is a peer running there, and can it be reached?"
        raise NoAnswer(text, reason=reason) from None
    finally:
        connection.close()


def _reason(error: OSError | TimeoutError) -> str:
    """In the system's words: an event loop's own name the address once more."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or "no answer in time"


async def _reply(
    connection: Connection, replies: asyncio.Queue[tuple[AnyMessage, bytes]], answer: type[Message]
) -> bytes:
    while True:
        getter = asyncio.ensure_future(replies.get())
        try:
            await asyncio.wait((getter, connection.closed), return_when=asyncio.FIRST_COMPLETED)
            if not getter.done():
                raise NoAnswer("the peer closed the connection before it answered", reason="it hung up")
            message, payload = getter.result()
        finally:
            getter.cancel()
        if isinstance(message, answer):
            return payload
