"""What comes in goes to the part that it is for; what belongs nowhere is refused or dropped."""

from __future__ import annotations

from typing import Any

import pytest

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.peer.switchboard import MAX_SMALL_PAYLOAD_BYTES, Switchboard
from marfl_peer.protocol.frames import MAX_PAYLOAD_BYTES
from marfl_peer.protocol.messages import (
    Absent,
    AnyMessage,
    Ballot,
    Done,
    Events,
    Goodbye,
    Heartbeat,
    JoinReply,
    JoinRequest,
    LineName,
    ModelPart,
    ModelRequest,
    NoState,
    Part,
    Relayed,
    ResultPart,
    RunReply,
    RunRequest,
    Start,
    StartAnswer,
    StartProposal,
    StateOffer,
    StatePart,
    StatePull,
    StateRequest,
    StateTaken,
    StatusReply,
    StatusRequest,
)

PEER = PeerId("a" * 40)
NAME = LineName(iteration=1, round=1, line=0)
BALLOT = Ballot(attempt=1, leader="b" * 40)
PART = Part(name=NAME, ballot=BALLOT, stage="scatter", offset=0)
OFFER = StateOffer(
    iteration=1, vector_bytes=4, digest="", maxima=(), group=(), public_key=bytes(32), signature=bytes(64)
)
ANSWER = StartAnswer(accepted=True, iteration=0, state_digest="", reason="")
NOTHING = memoryview(b"")


class Noted:
    """Stands for any part: notes which of its methods was called, and names 8 bytes of room."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.place: memoryview | None = memoryview(bytearray(8))

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: object) -> memoryview | None:
            self.calls.append(name)
            return self.place if name == "room" else None

        return call


@pytest.fixture
def parts() -> dict[str, Noted]:
    return {
        name: Noted() for name in ("roster", "entrance", "aggregator", "states", "catching_up", "reunion", "distilling")
    }


@pytest.fixture
def switchboard(parts: dict[str, Noted]) -> Switchboard:
    board = Switchboard(status=lambda: b"status", run_record=lambda: b"run")
    board.plug_in(**parts)
    return board


@pytest.mark.parametrize(
    ("message", "part", "method"),
    [
        (Done(name=NAME, completed=BALLOT), "aggregator", "heard"),
        (PART, "aggregator", "heard"),
        (Events(), "roster", "heard"),
        (StateRequest(at_least=1), "states", "asked"),
        (StatePull(iteration=1, offset=0), "states", "pulled"),
        (StateTaken(), "states", "taken"),
        (OFFER, "catching_up", "offered"),
        (StatePart(iteration=1, offset=0), "catching_up", "part_arrived"),
        (NoState(iteration=1), "catching_up", "refused"),
        (ModelRequest(name=NAME), "distilling", "heard"),
        (ModelPart(name=NAME, offset=0), "distilling", "heard"),
        (JoinRequest(), "entrance", "asked_to_join"),
        (JoinReply(first_iteration=3), "entrance", "join_replied"),
        (StartProposal(), "entrance", "proposed"),
        (ANSWER, "entrance", "answered"),
        (Start(view_digest="", iteration=0, state_digest="", holders=()), "entrance", "begun"),
        (Relayed(peer_id=PEER), "entrance", "relayed"),
    ],
)
def test_message_goes_to_the_part_it_is_for(switchboard, parts, message: AnyMessage, part: str, method: str) -> None:
    switchboard.heard(PEER, message, NOTHING)
    assert {name: noted.calls for name, noted in parts.items() if noted.calls} == {part: [method]}


def test_absence_is_told_to_all_who_wait_for_members(switchboard, parts) -> None:
    switchboard.heard(PEER, Absent(until=3), NOTHING)
    assert {name: noted.calls for name, noted in parts.items() if noted.calls} == {
        "aggregator": ["absent"],
        "distilling": ["absent"],
    }


def test_heartbeat_tells_the_parts_where_its_sender_is(switchboard, parts) -> None:
    switchboard.heard(PEER, Heartbeat(iteration=0), NOTHING)
    assert all(not noted.calls for noted in parts.values()), "it is nowhere yet"
    switchboard.heard(PEER, Heartbeat(iteration=3), NOTHING)
    assert {name: noted.calls for name, noted in parts.items() if noted.calls} == {
        "entrance": ["overheard"],
        "reunion": ["beat"],
    }


def test_message_before_there_is_a_part_for_it_is_dropped() -> None:
    board = Switchboard(status=lambda: b"", run_record=lambda: b"")
    for message in (PART, Events(), OFFER, JoinRequest(), Heartbeat(iteration=3)):
        board.heard(PEER, message, NOTHING)
    board.up(PEER)
    board.down(PEER)
    board.interrupted(PEER)
    board.offended(PEER)
    board.lost(PEER, "silent")
    assert board.iteration() == 0


@pytest.mark.parametrize("message", [StatusRequest(), RunRequest(), StatusReply()])
def test_observers_question_from_a_peer_is_refused(switchboard, message: AnyMessage) -> None:
    with pytest.raises(RemoteProtocolError):
        switchboard.heard(PEER, message, NOTHING)


def test_room_for_tensors_is_named_by_who_waits_for_them(switchboard, parts) -> None:
    for message, part in ((PART, "aggregator"), (StatePart(iteration=1, offset=0), "catching_up")):
        assert switchboard.room(PEER, message, 8) is parts[part].place


def test_room_for_tensors_that_nobody_waits_for_is_scratch(switchboard, parts) -> None:
    for part in parts.values():
        part.place = None
    for message in (PART, ResultPart(name=NAME, ballot=BALLOT, offset=0), StatePart(iteration=1, offset=0)):
        rooms = [switchboard.room(PEER, message, MAX_PAYLOAD_BYTES) for _ in range(2)]
        assert [len(room) for room in rooms] == [MAX_PAYLOAD_BYTES] * 2
        assert rooms[0].obj is rooms[1].obj, "nothing is allocated for it"


@pytest.mark.parametrize("message", [Events(), JoinRequest(), ANSWER])
def test_records_longer_than_any_honest_ones_are_refused(switchboard, message: AnyMessage) -> None:
    assert len(switchboard.room(PEER, message, MAX_SMALL_PAYLOAD_BYTES)) == MAX_SMALL_PAYLOAD_BYTES
    with pytest.raises(RemoteProtocolError) as caught:
        switchboard.room(PEER, message, MAX_SMALL_PAYLOAD_BYTES + 1)
    assert caught.value.code == "bad_message"


@pytest.mark.parametrize("message", [Events(), JoinRequest(), ANSWER])
def test_room_for_records_is_their_own(switchboard, message: AnyMessage) -> None:
    one, other = switchboard.room(PEER, message, 10), switchboard.room(PEER, message, 10)
    assert len(one) == 10
    assert one.obj is not other.obj


@pytest.mark.parametrize("message", [Heartbeat(), Goodbye(), StateRequest(at_least=1), OFFER, StatusReply()])
def test_payload_behind_a_message_that_has_none_is_refused(switchboard, message: AnyMessage) -> None:
    assert len(switchboard.room(PEER, message, 0)) == 0
    with pytest.raises(RemoteProtocolError) as caught:
        switchboard.room(PEER, message, 1)
    assert caught.value.code == "bad_message"


class Guest:
    """An observer's connection."""

    def __init__(self) -> None:
        self.sent: list[tuple[AnyMessage, bytes]] = []
        self.is_closed = False

    def send(self, message: AnyMessage, payload: bytes = b"") -> None:
        self.sent.append((message, payload))

    def close(self) -> None:
        self.is_closed = True


def test_guests_questions_are_answered_and_nothing_else_is(switchboard) -> None:
    guest = Guest()
    switchboard.asked(guest, StatusRequest())
    switchboard.asked(guest, RunRequest())
    assert guest.sent == [(StatusReply(), b"status"), (RunReply(), b"run")]
    assert not guest.is_closed
    switchboard.asked(guest, JoinRequest())
    assert guest.is_closed


def test_question_before_there_is_anything_to_tell_is_not_answered() -> None:
    board = Switchboard(status=lambda: b"", run_record=lambda: b"")
    guest = Guest()
    board.asked(guest, StatusRequest())
    assert guest.sent == []
    assert guest.is_closed


def test_peer_that_comes_and_goes_is_told_to_those_who_wait_for_it(switchboard, parts) -> None:
    switchboard.up(PEER)
    assert parts["aggregator"].calls == ["back"]
    assert parts["reunion"].calls == ["met"]
    assert parts["roster"].calls == ["met"]
    switchboard.down(PEER)
    assert parts["aggregator"].calls == ["back", "gone"]
    assert parts["states"].calls == ["gone"]
    assert parts["catching_up"].calls == ["back", "gone"]
    assert parts["roster"].calls == ["met", "silent"], "a broken connection is no loss"
    switchboard.lost(PEER, "silent")
    assert parts["roster"].calls == ["met", "silent", "silent", "state_gone"]
    assert parts["entrance"].calls == ["met", "gone"]
