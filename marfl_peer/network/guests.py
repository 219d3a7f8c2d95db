"""Observers that were let in to ask something: no peers, and sent away when they ask nothing for a while.

Knows that there are questions, not what they are nor what the answers.
"""

from __future__ import annotations

from collections.abc import Callable

from marfl_peer.facts import ConnectionRefused, Sink
from marfl_peer.network.connection import Connection
from marfl_peer.network.door import TOO_MANY
from marfl_peer.network.handshake import Guest
from marfl_peer.protocol.messages import AnyMessage, Goodbye, Refusal

MAX_GUESTS = 64
"""Observers that ask something."""
GUEST_S = 30.0
"""An observer that asks nothing for so long is sent away."""


class Guests:
    """`on_asked(connection, question)` answers over the connection."""

    def __init__(self, *, on_asked: Callable[[Connection, AnyMessage], None], tell: Sink) -> None:
        self._on_asked, self._tell = on_asked, tell
        self._connections: dict[Connection, None] = {}  # in the order in which they came

    def __len__(self) -> int:
        return len(self._connections)

    def receive(self, connection: Connection, guest: Guest) -> None:
        """Hears the observer from now on, unless there are too many already."""
        if len(self._connections) >= MAX_GUESTS:
            self._tell(ConnectionRefused(code="too_many", remote=connection.remote, by_us=True, detail=TOO_MANY))
            connection.send(Refusal(code="too_many", detail=TOO_MANY))
            connection.close()
            return
        self._connections[connection] = None
        connection.on_frame = self._heard
        connection.on_closed = lambda connection, _: self._connections.pop(connection, None)
        connection.hear(guest.early)

    def send_idle_away(self, now: float) -> None:
        for connection in [guest for guest in self._connections if guest.last_heard < now - GUEST_S]:
            connection.close()

    def close(self) -> None:
        for connection in [*self._connections]:
            connection.close()

    def _heard(self, connection: Connection, message: AnyMessage, payload: memoryview) -> None:
        if isinstance(message, Goodbye):
            connection.close()
        else:
            self._on_asked(connection, message)
