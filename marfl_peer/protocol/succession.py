"""When this peer leads its line, until when it then gathers, and when it calls late who should lead and does not.

Ties what is known of lateness to what this peer does on the line. Who is called late by whom: see lateness.
"""

from __future__ import annotations

from marfl_peer.ids import PeerId
from marfl_peer.protocol.attendance import Attendance
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.lateness import Lateness
from marfl_peer.protocol.leadership import Leadership
from marfl_peer.protocol.lines import Line
from marfl_peer.protocol.phases import Phase
from marfl_peer.protocol.timetable import Limits


class Succession:
    """Everything that it is made of is the owner's and changes with it."""

    def __init__(
        self,
        me: PeerId,
        line: Line,
        part: Attendance,
        lead: Leadership,
        late: Lateness,
        ballots: BallotBox,
        gone: set[PeerId],
    ) -> None:
        self._me, self._line, self._part, self._lead, self._late = me, line, part, lead, late
        self._ballots, self._gone = ballots, gone

    def leads(self) -> bool:
        """Whether this peer leads. Instead of somebody who is late only who is here does, and is in nobody's ballot."""
        if self._lead.leader != self._me:
            return False
        if self._late.first_called_at(self._me) is None:
            return True
        promised = self._ballots.promised
        if self._ballots.completed is not None or self._me in self._ballots.proposers:
            return True
        return self._part.may_give_up() and (promised is None or promised.leader in self._gone)

    def declined(self, peer: PeerId, cell: int, *, now: float) -> None:
        """`peer` does not play that cell here. If it is its own, it does not lead instead of somebody late either: the
        next one may, or in the end the one that was called late itself, which nobody else is left to wait for."""
        is_deputy = peer == self._lead.leader != self._me and self._late.first_called_at(peer) is not None
        if is_deputy and self._line.players.get(cell) == peer:
            self._late.call([peer], now=now)

    def gather_until(self, limits: Limits) -> float | None:
        """When this peer, as the leader, proposes with who is here; None: not before that changes."""
        called_at = self._late.first_called_at(self._me)
        if called_at is None:
            return limits.gather_until
        # A ballot of its own alone would be no better than none, and the line's result for all who come later.
        return called_at + limits.step_s if self._lead.has_company() else None

    def next_call(self, limits: Limits) -> tuple[float, set[PeerId]] | None:
        """When this peer calls whom late: only while it waits and has heard of neither a proposal nor a result."""
        first = limits.call_late_at
        if first is None or self._part.phase is not Phase.WAITING or self._ballots.promised is not None:
            return None
        leader = self._lead.leader
        if leader is None or leader == self._me or self._ballots.best(self._gone) is not None:
            return None
        players, is_here = self._lead.players(), self._lead.is_here
        return self._late.next_call(leader, players, is_here, first=first, step=limits.step_s)
