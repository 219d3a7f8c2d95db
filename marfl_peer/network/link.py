"""What the pool knows of one peer: where it is, the connections to it, and what waits for one.

Knows which of the connections carries what is sent; not when to dial, nor whom to tell.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from marfl_peer.network.connection import Connection
from marfl_peer.protocol.frames import Room
from marfl_peer.protocol.messages import AnyMessage, Goodbye, Heartbeat, Message


@dataclass(slots=True)
class Link:
    address: tuple[str, int] | None = None
    is_dial_only: bool = False
    """It has no address, and is not to have one."""
    best: Connection | None = None
    """Carries what is sent."""
    others: list[Connection] = field(default_factory=list)
    """Are only read, until they close."""
    queue: deque[tuple[Message, bytes]] = field(default_factory=deque)
    dialling: asyncio.Task[None] | None = None
    """Dials, or waits for the other to do so."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """A connection came since somebody began to wait for one."""
    said_goodbye: bool = False

    def connections(self) -> list[Connection]:
        return [connection for connection in (self.best, *self.others) if connection is not None]

    def add(self, connection: Connection, *, is_better: bool) -> bool:
        """Takes a connection, whichever side dialled, and sends what waited; returns whether it is the first.
        `is_better`: than another one, if there is one."""
        self.said_goodbye = False
        self.arrived.set()
        was_down = self.best is None
        if self.best is None or is_better:
            if self.best is not None:
                self.others.append(self.best)
            self.best = connection
        else:
            self.others.append(connection)
        while self.queue:
            self.best.send(*self.queue.popleft())
        return was_down

    def remove(self, connection: Connection) -> bool:
        """Another takes over for one that closed; returns whether it was the last."""
        if connection in self.others:
            self.others.remove(connection)
            return False
        self.best = self.others.pop(0) if self.others else None
        return self.best is None

    def notes(self, connection: Connection, message: AnyMessage) -> bool:
        """Takes note of what a message says of the connection that it came over. Whether it is for nobody else."""
        match message:
            case Goodbye():
                self.said_goodbye = True
                connection.close()
                return True
            case Heartbeat():
                connection.their_beat_s = message.every_s
                return False
            case _:
                return False


def placed(
    payload: memoryview, rooms: Sequence[memoryview], place: Callable[[int], memoryview | Room]
) -> memoryview | None:
    """Moves a payload that began to come in during the handshake (it is in one of `rooms`) to where it belongs. None
    where its receiver has been told."""
    if not any(payload is room for room in rooms):
        return payload
    there = place(len(payload))
    if isinstance(there, Room):
        start = 0
        for piece in there.pieces:
            piece[:] = payload[start : start + len(piece)]
            start += len(piece)
        return None
    there[:] = payload
    return there
