"""One line of the grid in one round: from "I am here" to an agreed group and its result.

Member and leader in one machine: `phases` is the table of a member's phases, `attendance` what a member does,
`leadership` what a leader does, `succession` who leads where nobody does, `reports` what the one tells the other,
`endings` how it ends; here is what sets each of them going. Messages to oneself are handled like any other. Nothing
waits longer than the round's deadline.
"""

from __future__ import annotations

from collections.abc import Collection

from marfl_peer.ids import PeerId
from marfl_peer.protocol import endings
from marfl_peer.protocol.attendance import Attendance
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.bases import Base
from marfl_peer.protocol.endings import Ending
from marfl_peer.protocol.instructions import FindPlayer, Instruction, ReleaseResult, Send
from marfl_peer.protocol.lateness import Lateness
from marfl_peer.protocol.leadership import Leadership
from marfl_peer.protocol.lines import Line
from marfl_peer.protocol.messages import (
    Ballot,
    CannotPlay,
    Culprit,
    Done,
    Have,
    Here,
    LineMessage,
    Member,
    Nack,
    Play,
    Propose,
    Seat,
    Take,
)
from marfl_peer.protocol.phases import Event, Phase
from marfl_peer.protocol.reports import Reports
from marfl_peer.protocol.speeds import Speeds
from marfl_peer.protocol.succession import Succession
from marfl_peer.protocol.timetable import Limits


class Matchmaking:
    """`limits` are the owner's to set, before each event; `base` and `speeds` are the owner's and change with it."""

    def __init__(
        self,
        me: PeerId,
        line: Line,
        *,
        gone: Collection[PeerId] = (),
        base: Base | None = None,
        speeds: Speeds | None = None,
    ) -> None:
        base = Base() if base is None else base
        speeds = Speeds() if speeds is None else speeds
        self.me, self.line, self.name = me, line, line.name
        self.limits = Limits()
        self.ballots = BallotBox()
        self._gone = set(gone) - {me}
        self._late = Lateness(line, self.ballots)
        self._part = Attendance(me, line, ballots=self.ballots, late=self._late, base=base, speeds=speeds)
        self._lead = Leadership(
            me, line, ballots=self.ballots, gone=self._gone, late=self._late, base=base, speeds=speeds
        )
        self._succession = Succession(me, line, self._part, self._lead, self._late, self.ballots, self._gone)
        self._reports = Reports(me, line, self.ballots, self._part, self._lead)
        self._released = False

    @property
    def phase(self) -> Phase:
        return self._part.phase

    @property
    def is_given_up(self) -> bool:
        """Whether this peer is through with the line without its result."""
        return self.phase is Phase.FINISHED and self.ballots.completed is None

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of the ballot that this peer exchanges under, or exchanged under last."""
        return self._part.members

    @property
    def leader(self) -> PeerId | None:
        return self._lead.leader

    def here(self) -> Here:
        """What this peer tells whoever leads."""
        return self._part.here()

    def awaits(self, ballot: Ballot) -> bool:
        """Whether the result of `ballot` would be this line's if it came now."""
        return self._part.awaits(ballot)

    def next_deadline(self) -> float | None:
        times = []
        if self._part.may_give_up():
            times.append(self.limits.wait_until)
        if self._lead.awaits_somebody() and self._succession.leads():
            times.append(self._succession.gather_until(self.limits))
        if (call := self._succession.next_call(self.limits)) is not None:
            times.append(call[0])
        return min((time for time in times if time is not None), default=None)

    # what happens

    def arrive(self, seat: Seat, *, update_s: float, now: float) -> list[Instruction]:
        """This peer is ready to play a cell here."""
        if self._part.arrive(seat, update_s=update_s, now=now):
            known = self._reports.here() + self._part.take_what_is_known(self._gone)
            return known + self._lead_on(now) + self._leave_orphan(now)
        # Also in a running exchange: if that fails, the next ballot is to have this seat, too.
        return self._reports.here() + self._lead_on(now) if self.phase is not Phase.FINISHED else []

    def heard(self, sender: PeerId, message: LineMessage, *, now: float) -> list[Instruction]:
        """A message about this line."""
        steps = self.back(sender, now=now)
        if isinstance(message, Here):
            steps += self._told_who_is_late(sender, message, now)
        steps += self._react(sender, message, now)
        return steps + self._reports.follow() + self._lead_on(now) + self._release()

    def gone(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """`peer` is lost or has left."""
        if peer == self.me or peer in self._gone:
            return []
        self._gone.add(peer)
        self._lead.gone(peer)
        steps = self._reports.follow()
        if not steps and self._part.exchanges_with(peer):
            # Others may complete what cannot be completed here: the leader is to tell.
            steps = self._reports.here()
        return steps + self._lead_on(now) + self._release() + self._leave_orphan(now)

    def back(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """`peer` can be reached again; what was said in between may not have arrived."""
        if peer not in self._gone:
            return []
        self._gone.discard(peer)
        return self._say_again(peer, now)

    def interrupted(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """What was said last, to `peer` or by it, may not have arrived; it is awaited as before."""
        if peer == self.me or peer in self._gone:
            return []
        self._lead.interrupted(peer)
        return self._say_again(peer, now)

    def _say_again(self, peer: PeerId, now: float) -> list[Instruction]:
        steps = self._reports.back(peer)
        if self._part.exchanges_with(peer):
            steps += self._reports.another_ballot()
        return steps + self._lead_on(now)

    def exchanged(self, ballot: Ballot, *, now: float) -> list[Instruction]:
        """The exchange of `ballot` is complete here."""
        if self.phase is not Phase.EXCHANGING or not self.awaits(ballot):
            return []
        return self._complete(ballot, Event.EXCHANGED, endings.exchanged(self.line, ballot, self.members), now)

    def fetched(self, ballot: Ballot, members: tuple[PeerId, ...], *, now: float) -> list[Instruction]:
        """The result of `ballot` was downloaded."""
        if self.phase is not Phase.FETCHING or not self.awaits(ballot):
            return []
        return self._complete(ballot, Event.FETCHED, endings.taken(ballot, members), now)

    def fetch_failed(self, *, now: float) -> list[Instruction]:
        """None of the sources gave it: ask the leader again."""
        return self._reports.here() + self._lead_on(now) if self._part.fetch_failed() else []

    def cannot_play(self, cell: int, *, now: float) -> list[Instruction]:
        """This peer, asked to play `cell`, cannot: it does not hold that state."""
        self._lead.cannot_play(self.me, cell)
        return self._lead_on(now)

    def blame(self, ballot: Ballot, culprit: PeerId, *, now: float) -> list[Instruction]:
        """This peer received values from `culprit`, or a result, that are not finite."""
        self.ballots.liars.add(culprit)
        leader = self._lead.leader
        if leader is None or ballot != self.ballots.promised:
            return []
        message = Culprit(name=self.name, ballot=ballot, peer_id=culprit)
        if leader != self.me:
            return [Send(to=leader, message=message)]
        return self._react(self.me, message, now) + self._lead_on(now)

    def give_up(self, *, now: float) -> list[Instruction]:
        """The result can be had from nobody."""
        return self._skip(now) if self._part.may_give_up() else []

    def tick(self, *, now: float) -> list[Instruction]:
        """A deadline may have passed."""
        until = self.limits.wait_until
        if until is not None and now >= until and self._part.may_give_up():
            return self._skip(now)
        call = self._succession.next_call(self.limits)
        if call is not None and now >= call[0]:
            self._late.call(call[1], now=now)
        return self._reports.follow() + self._lead_on(now)

    # how it reacts

    def _react(self, sender: PeerId, message: LineMessage, now: float) -> list[Instruction]:
        match message:
            case Here():
                return self._lead.heard(sender, message) + self._decline_the_lead(sender, message)
            case Propose():
                return self._part.proposed(sender, message)
            case Nack():
                self.ballots.saw(message.promised)
                if self._lead.is_member(message.ballot, sender):
                    self._lead.running = None
            case Have() | Done():
                return self._heard_of_result(sender, message) if self.line.concerns(sender) else []
            case Take():
                return self._part.told_to_take(message) if self.line.concerns(sender) else []
            case Play():
                may = self.line.may_take_over(self.me, message.cell)
                return [FindPlayer(name=self.name, cell=message.cell)] if may else []
            case CannotPlay():
                self._lead.cannot_play(sender, message.cell)
                self._succession.declined(sender, message.cell, now=now)
            case Culprit():
                if self._lead.is_member(message.ballot, sender, message.peer_id):
                    self.ballots.liars.add(PeerId(message.peer_id))
                    self._lead.expel(PeerId(message.peer_id))
            case _:
                pass
        return []

    def _heard_of_result(self, sender: PeerId, message: Have | Done) -> list[Instruction]:
        self.ballots.holds(message.completed, sender)
        if isinstance(message, Have) and sender not in self.ballots.liars:
            self._lead.running = None
        return self._part.take_what_is_known(self._gone)

    def _told_who_is_late(self, sender: PeerId, message: Here, now: float) -> list[Instruction]:
        """Believes it, or says what it knows better: there is a result, or a ballot of the one who is called late."""
        seats = [seat.cell for seat in message.seats]
        if message.view_digest != self.line.view_digest or not self.line.may_play(sender, seats):
            return []
        self._late.call(message.late, now=now)
        promised = self.ballots.promised
        if message.late and self.ballots.completed is not None:
            return self._reports.done(sender)
        return [Send(to=sender, message=self.here())] if promised and promised.leader in message.late else []

    def _decline_the_lead(self, sender: PeerId, message: Here) -> list[Instruction]:
        """One that was called late comes when this peer, that was to lead instead, has given the line up."""
        if not message.late or not self.is_given_up or self._succession.leads():
            return []
        own = [cell for cell, player in self.line.players.items() if player == self.me]
        return [Send(to=sender, message=CannotPlay(name=self.name, cell=cell)) for cell in own]

    def _lead_on(self, now: float) -> list[Instruction]:
        if not self._succession.leads():
            # Should the lead come back, others have led in between.
            self._lead.running = None
            return []
        until = self._succession.gather_until(self.limits)
        steps: list[Instruction] = []
        own: list[Instruction] = []
        for step in self._lead.lead(gather_is_over=until is not None and now >= until):
            if isinstance(step, Send) and step.to == self.me:
                assert isinstance(step.message, Propose | Take)
                own += self._react(self.me, step.message, now)
            else:
                steps.append(step)
        # The others first: they have as much to prepare as this peer, and do so while it does.
        return steps + own

    # how it ends

    def _complete(self, ballot: Ballot, event: Event, ending: Ending, now: float) -> list[Instruction]:
        self.ballots.complete(ballot, self.me)
        told = (self._lead.everybody() | set(ending.members)) - self._gone - {self.me}
        steps = [step for peer in sorted(told) for step in self._reports.done(peer)]
        return steps + self._end(event, ending, now) + self._lead_on(now) + self._release()

    def _leave_orphan(self, now: float) -> list[Instruction]:
        """Gives up a line that this peer only plays for others, where all of them are gone: nobody leads it. A running
        exchange may still end well, unless it needs one of those who are gone."""
        is_stuck = self.phase is Phase.WAITING or any(self._part.exchanges_with(peer) for peer in self._gone)
        return self._skip(now) if self._lead.leader is None and is_stuck else []

    def _skip(self, now: float) -> list[Instruction]:
        steps = self._end(Event.GAVE_UP, endings.skipped(self.line), now)
        return steps + self._reports.given_up() + self._lead_on(now)

    def _end(self, event: Event, ending: Ending, now: float) -> list[Instruction]:
        since, until = self._part.arrived_at, self.limits.wait_until
        return self._part.end(event) + endings.conclusion(
            self.name,
            ending,
            attempts=self.ballots.highest_attempt,
            waited_s=now - since,
            allowed_s=(now if until is None else until) - since,
        )

    def _release(self) -> list[Instruction]:
        """Says once that nobody on the line lacks the result any more."""
        if self._released or self.phase is not Phase.FINISHED:
            return []
        if self._lead.everybody() - self.ballots.all_holders() - {self.me}:
            return []
        self._released = True
        return [ReleaseResult(name=self.name)]
