"""What a peer tells whoever leads a line: that it is here, what result it holds, what went wrong.

The lead passes to somebody else when the leader is lost and when it comes back; each leader is to be told once. Nothing
is sent to oneself: where this peer leads, it notes what it would have sent.
"""

from __future__ import annotations

from marfl_peer.ids import PeerId
from marfl_peer.protocol.attendance import Attendance
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.instructions import Instruction, Send
from marfl_peer.protocol.leadership import Leadership
from marfl_peer.protocol.lines import Line
from marfl_peer.protocol.messages import CannotPlay, Done, Nack
from marfl_peer.protocol.phases import Phase


class Reports:
    """One peer's reports about one line. Each returns what is to be sent."""

    def __init__(self, me: PeerId, line: Line, ballots: BallotBox, part: Attendance, lead: Leadership) -> None:
        self._me, self._line, self._ballots = me, line, ballots
        self._part, self._lead = part, lead
        self._told: PeerId | None = None

    def here(self) -> list[Instruction]:
        """This peer is here. Said again, it asks for the proposal, and for the result."""
        here, leader = self._part.here(), self._lead.leader
        self._told = leader
        self._lead.here(self._me, here)
        # Where somebody is late all are told: any of them may have to lead, and has to know who is here.
        told = self._lead.everybody() if here.late else set() if leader is None else {leader}
        return [Send(to=peer, message=here) for peer in sorted(told - {self._me})]

    def done(self, to: PeerId) -> list[Instruction]:
        """This peer holds a result; nothing to say if it does not."""
        completed = self._ballots.completed
        return [] if completed is None else [Send(to=to, message=Done(name=self._line.name, completed=completed))]

    def follow(self) -> list[Instruction]:
        """Where the lead has passed to somebody else, tells the new leader what this peer has."""
        leader = self._lead.leader
        if leader == self._told or self._part.phase is Phase.ABSENT:
            return []
        if self._ballots.completed is None:
            return [] if self._part.phase is Phase.FINISHED else self.here()
        self._told = leader
        return [] if leader is None or leader == self._me else self.done(leader)

    def back(self, peer: PeerId) -> list[Instruction]:
        """`peer` was out of reach: what it was told, as leader too, may not have arrived."""
        if self._lead.leader == peer:
            self._told = None
        return (self.done(peer) if self._line.concerns(peer) else []) + self.follow()

    def another_ballot(self) -> list[Instruction]:
        """A member was out of reach: what it and this peer sent each other under the running ballot may be lost."""
        leader, ballot = self._lead.leader, self._ballots.promised
        if leader is None or ballot is None:
            return []
        if leader == self._me:
            self._lead.running = None
            return []
        return [Send(to=leader, message=Nack(name=self._line.name, ballot=ballot, promised=ballot))]

    def given_up(self) -> list[Instruction]:
        """This peer is through without a result: none of its cells is to be waited for."""
        leader = self._lead.leader
        steps: list[Instruction] = []
        for cell in self._part.cells:
            self._lead.cannot_play(self._me, cell)
            if leader is not None and leader != self._me:
                steps.append(Send(to=leader, message=CannotPlay(name=self._line.name, cell=cell)))
        return steps
