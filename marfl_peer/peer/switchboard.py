"""Where what comes in on the links goes: to the rounds, the roster, the entrance, the states, or a guest's question."""

from __future__ import annotations

from collections.abc import Callable

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.catchup import CatchUp
from marfl_peer.peer.distilling import Distilling
from marfl_peer.peer.entrance import Entrance
from marfl_peer.peer.reunion import Reunion
from marfl_peer.peer.roster import Roster
from marfl_peer.peer.states import States
from marfl_peer.protocol.frames import MAX_PAYLOAD_BYTES, Room
from marfl_peer.protocol.messages import (
    Absent,
    AnyMessage,
    Events,
    Heartbeat,
    JoinReply,
    JoinRequest,
    ModelMessage,
    ModelPart,
    NoState,
    Part,
    Relayed,
    ResultPart,
    RoundMessage,
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
    Whereabouts,
)

WITH_SMALL_PAYLOAD = (Events, JoinRequest, StartAnswer)
MAX_SMALL_PAYLOAD_BYTES = 1024 * 1024


class Switchboard:
    """A `network.links.Listener`. The parts are plugged in when they exist; what comes before is dropped."""

    def __init__(self, *, status: Callable[[], bytes], run_record: Callable[[], bytes]) -> None:
        self.aggregator: Aggregator | None = None
        self.roster: Roster | None = None
        self.entrance: Entrance | None = None
        self.states: States | None = None
        self.catching_up: CatchUp | None = None
        self.reunion: Reunion | None = None
        self.distilling: Distilling | None = None
        self._status, self._run_record = status, run_record
        self._scratch = bytearray(MAX_PAYLOAD_BYTES)

    def plug_in(
        self,
        roster: Roster,
        entrance: Entrance,
        aggregator: Aggregator,
        states: States,
        catching_up: CatchUp,
        reunion: Reunion,
        distilling: Distilling,
    ) -> None:
        self.roster, self.entrance, self.aggregator = roster, entrance, aggregator
        self.states, self.catching_up, self.reunion = states, catching_up, reunion
        self.distilling = distilling

    def heard(self, peer: PeerId, message: AnyMessage, payload: memoryview) -> None:
        if isinstance(message, RoundMessage):
            if self.aggregator is not None:
                self.aggregator.heard(peer, message, len(payload))
        elif isinstance(message, Absent):
            if self.aggregator is not None:
                self.aggregator.absent(peer, message.until)
            if self.distilling is not None:
                self.distilling.absent(peer, message.until)
        elif isinstance(message, Heartbeat):
            self._beat(peer, message.iteration)
        elif isinstance(message, ModelMessage):
            if self.distilling is not None:
                self.distilling.heard(peer, message, len(payload))
        elif isinstance(message, StateRequest | StatePull | StateTaken):
            if self.states is not None:
                self._wanted(self.states, peer, message)
        elif isinstance(message, StateOffer | StatePart | NoState):
            if self.catching_up is not None:
                self._given(self.catching_up, peer, message)
        elif isinstance(message, Events):
            if self.roster is not None:
                self.roster.heard(peer, message, payload)
        elif isinstance(message, Whereabouts):
            if self.reunion is not None:
                self.reunion.heard(peer, message)
        elif self.entrance is not None:
            self._at_entrance(self.entrance, peer, message, payload)

    def room(self, peer: PeerId, message: AnyMessage, length: int) -> memoryview | Room:
        """Memory for a payload: a tensor's where one waits for it, else scratch. Raises: RemoteProtocolError."""
        place: memoryview | Room | None = None
        if isinstance(message, (Part, ResultPart)):  # first, because most frames are; a union would be made each time
            place = None if self.aggregator is None else self.aggregator.room(peer, message, length)
        elif length == 0:
            return memoryview(b"")
        elif isinstance(message, WITH_SMALL_PAYLOAD) and length <= MAX_SMALL_PAYLOAD_BYTES:
            return memoryview(bytearray(length))
        elif isinstance(message, StatePart):
            place = None if self.catching_up is None else self.catching_up.room(peer, message, length)
        elif isinstance(message, ModelPart):
            place = None if self.distilling is None else self.distilling.room(peer, message, length)
        else:
            raise RemoteProtocolError("bad_message", f"a payload of {length} bytes behind {type(message).__name__}")
        return memoryview(self._scratch)[:length] if place is None else place

    def asked(self, connection: Connection, message: AnyMessage) -> None:
        match message:
            case _ if self.roster is None:
                connection.close()  # there is nothing to tell yet: this peer listens, but is still being built
            case StatusRequest():
                connection.send(StatusReply(), self._status())
            case RunRequest():
                connection.send(RunReply(), self._run_record())
            case _:
                connection.close()

    def up(self, peer: PeerId) -> None:
        if self.aggregator is not None:
            self.aggregator.back(peer)
        self._met(peer)

    def down(self, peer: PeerId) -> None:
        if self.aggregator is not None:
            self.aggregator.gone(peer)
        if self.distilling is not None:
            self.distilling.gone(peer)
        self._silent(peer)

    def interrupted(self, peer: PeerId) -> None:
        """The peer is there; but what was said last, either way, may not have arrived."""
        if self.aggregator is not None:
            self.aggregator.interrupted(peer)
        if self.distilling is not None:
            self.distilling.interrupted(peer)
        self._silent(peer)
        self._met(peer)

    def _met(self, peer: PeerId) -> None:
        """For those to whom an interruption is an absence that is over."""
        if self.entrance is not None:
            self.entrance.met(peer)
        if self.catching_up is not None:
            self.catching_up.back(peer)
        if self.roster is not None:
            self.roster.met(peer)
        if self.reunion is not None:
            self.reunion.met(peer)

    def _silent(self, peer: PeerId) -> None:
        if self.roster is not None:
            self.roster.silent(peer)
        if self.states is not None:
            self.states.gone(peer)
        if self.catching_up is not None:
            self.catching_up.gone(peer)

    def offended(self, peer: PeerId) -> None:
        if self.aggregator is not None:
            self.aggregator.offended(peer)
        if self.distilling is not None:
            self.distilling.gone(peer)

    def lost(self, peer: PeerId, reason: str) -> None:
        self.down(peer)
        if self.entrance is not None:
            self.entrance.gone(peer)
        if self.roster is not None:
            self.roster.state_gone(peer, "lost", reason)

    def iteration(self) -> int:
        """Where this peer is, for its heartbeats."""
        return 0 if self.roster is None else max(self.roster.iteration, 0)

    def company(self) -> int:
        """How many members the largest group of this peer has."""
        return 1 if self.aggregator is None else self.aggregator.company

    def _beat(self, peer: PeerId, iteration: int) -> None:
        if not iteration:
            return
        if self.entrance is not None:
            self.entrance.overheard(peer, iteration)
        if self.reunion is not None:
            self.reunion.beat(peer, iteration)

    @staticmethod
    def _wanted(states: States, peer: PeerId, message: StateRequest | StatePull | StateTaken) -> None:
        match message:
            case StateRequest():
                states.asked(peer, message)
            case StatePull():
                states.pulled(peer, message)
            case StateTaken():
                states.taken(peer)

    @staticmethod
    def _given(catching_up: CatchUp, peer: PeerId, message: StateOffer | StatePart | NoState) -> None:
        match message:
            case StateOffer():
                catching_up.offered(peer, message)
            case StatePart():
                catching_up.part_arrived(peer, message)
            case NoState():
                catching_up.refused(peer, message)

    @staticmethod
    def _at_entrance(entrance: Entrance, peer: PeerId, message: AnyMessage, payload: memoryview) -> None:
        match message:
            case JoinRequest():
                entrance.asked_to_join(peer, payload)
            case JoinReply():
                entrance.join_replied(message)
            case StartProposal():
                entrance.proposed(peer, message)
            case StartAnswer():
                entrance.answered(peer, message, payload)
            case Start():
                entrance.begun(peer, message)
            case Relayed():
                entrance.relayed(peer, message)
            case _:
                raise RemoteProtocolError("bad_message", f"{type(message).__name__} does not belong here")
