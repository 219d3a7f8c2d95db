"""Which connection carries what is sent, what waits for one, and payloads that came in before there was a place."""

from __future__ import annotations

from typing import cast

import pytest

from marfl_peer.network.connection import Connection
from marfl_peer.network.link import Link, placed
from marfl_peer.protocol.messages import AnyMessage, Goodbye, Heartbeat, Message, StatePart


class Wire:
    """Stands for a connection: notes what it is told."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.is_closed = False

    def send(self, message: Message, payload: bytes = b"") -> None:
        self.sent.append(message)

    def close(self) -> None:
        self.is_closed = True


def wire() -> Connection:
    return cast(Connection, Wire())


def test_link_without_connections_has_none() -> None:
    assert Link().connections() == []


@pytest.mark.parametrize("lower_first", [True, False])
def test_connection_dialled_by_the_lower_id_carries_what_is_sent(lower_first: bool) -> None:
    link, first, second = Link(), wire(), wire()
    assert link.add(first, is_better=lower_first)
    assert not link.add(second, is_better=not lower_first)
    best, other = (first, second) if lower_first else (second, first)
    assert link.connections() == [best, other]
    assert link.best is best


def test_what_waited_goes_out_in_order_over_the_first_connection() -> None:
    link, first = Link(), Wire()
    parts = [StatePart(iteration=1, offset=number) for number in range(3)]
    link.queue.extend((part, b"") for part in parts)
    link.add(cast(Connection, first), is_better=False)
    assert first.sent == parts
    assert not link.queue


def test_other_connection_takes_over_and_the_last_takes_the_link_down() -> None:
    link, best, other, third = Link(), wire(), wire(), wire()
    for connection in (best, other, third):
        link.add(connection, is_better=connection is best)
    assert not link.remove(third)
    assert link.connections() == [best, other]
    assert not link.remove(best)
    assert link.best is other
    assert link.remove(other)
    assert link.best is None


def test_goodbye_is_the_links_own_affair() -> None:
    link, end = Link(), Wire()
    connection = cast(Connection, end)
    assert not link.notes(connection, Heartbeat(every_s=4))
    assert connection.their_beat_s == 4
    assert not link.notes(connection, StatePart(iteration=1, offset=0))
    assert not link.said_goodbye
    assert not end.is_closed
    message: AnyMessage = Goodbye()
    assert link.notes(connection, message)
    assert link.said_goodbye
    assert end.is_closed
    link.add(wire(), is_better=True)
    assert not link.said_goodbye, "it came back"


def test_payload_of_the_handshake_is_moved_to_its_place() -> None:
    memory = bytearray(8)
    rooms = (memoryview(bytearray(b"zz")), memoryview(bytearray(b"abc")))
    there = placed(rooms[1], rooms, lambda length: memoryview(memory)[2 : 2 + length])
    assert bytes(memory) == b"\0\0abc\0\0\0"
    assert bytes(there) == b"abc"


def test_payload_that_is_in_its_place_stays_there() -> None:
    payload = memoryview(bytearray(b"abc"))
    equal = memoryview(bytearray(b"abc"))

    def nowhere(length: int) -> memoryview:
        raise AssertionError("it has a place")

    assert placed(payload, (equal,), nowhere) is payload
