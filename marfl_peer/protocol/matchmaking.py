"""One line of the grid in one round: from "I am here" to an agreed group and its result.

Member and leader in one machine. Rules: a ballot is all or nothing; a member accepts only ballots above those it
accepted; who completed a ballot answers `have`; whoever waits while a result is known takes that result.
Messages to oneself are handled like any other. Nothing waits longer than the round's deadline.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from marfl_peer.facts import GroupAgreed, GroupOutcome, ResultSuperseded, WaitEnded
from marfl_peer.ids import PeerId
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.instructions import (
    AbortExchange,
    FetchResult,
    FindPlayer,
    FinishLine,
    Instruction,
    OpenExchange,
    ReleaseResult,
    Send,
    Tell,
)
from marfl_peer.protocol.leadership import Leadership
from marfl_peer.protocol.messages import (
    Ballot,
    CannotPlay,
    Culprit,
    Done,
    Have,
    Here,
    LineMessage,
    LineName,
    Member,
    Nack,
    Play,
    Propose,
    Ready,
    Seat,
    Take,
)
from marfl_peer.protocol.seats import is_well_formed, seats_of


class Phase(Enum):
    ABSENT = auto()
    """This peer is not here yet: it still trains or is in an earlier round."""
    WAITING = auto()
    """Here, and waiting for a proposal."""
    EXCHANGING = auto()
    FETCHING = auto()
    FINISHED = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """Until when a leader gathers and a member waits; None as long as the clock of the round has not started."""

    gather_until: float | None = None
    wait_until: float | None = None


class Matchmaking:
    def __init__(
        self,
        *,
        me: PeerId,
        name: LineName,
        players: Mapping[int, PeerId],
        candidates: Mapping[int, tuple[PeerId, ...]],
        view_digest: str,
        gone: Collection[PeerId] = (),
    ) -> None:
        self.me, self.name = me, name
        self.phase = Phase.ABSENT
        self.ballots = BallotBox()
        self.limits = Limits()
        self._gone = set(gone) - {me}
        self._view_digest = view_digest
        self._lead = Leadership(
            me=me,
            name=name,
            players=players,
            candidates=candidates,
            view_digest=view_digest,
            ballots=self.ballots,
            gone=self._gone,
        )
        self._seats: dict[int, Seat] = {}
        self._update_s = 0.0
        self._arrived_at = 0.0
        self._members: tuple[Member, ...] = ()
        self._leader_told: PeerId | None = None
        self._fetching: Ballot | None = None
        self._released = False

    @property
    def is_given_up(self) -> bool:
        """Whether this peer is through with the line without its result."""
        return self.phase is Phase.FINISHED and self.ballots.completed is None

    def awaits(self, ballot: Ballot) -> bool:
        """Whether the result of `ballot` would be this line's if it came now."""
        match self.phase:
            case Phase.EXCHANGING:
                return ballot == self.ballots.promised
            case Phase.FETCHING:
                return ballot == self._fetching
            case _:
                return False

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of the ballot that this peer exchanges under, or exchanged under last."""
        return self._members

    @property
    def leader(self) -> PeerId | None:
        return self._lead.leader

    # what happens

    def arrive(self, seat: Seat, *, update_s: float, now: float) -> list[Instruction]:
        """This peer is ready to play a cell here."""
        self._seats[seat.cell] = seat
        self._update_s = update_s
        if self.phase is not Phase.ABSENT:
            # Also in a running exchange: if that fails, the next ballot is to have this seat, too.
            return self._say_here() + self._lead_on(now) if self.phase is not Phase.FINISHED else []
        self.phase = Phase.WAITING
        self._arrived_at = now
        return self._say_here() + self._take_what_is_known() + self._lead_on(now) + self._leave_orphan(now)

    def heard(self, sender: PeerId, message: LineMessage, *, now: float) -> list[Instruction]:
        """A message about this line."""
        steps = self.back(sender, now=now)
        steps += self._react(sender, message, now)
        return steps + self._follow(now) + self._lead_on(now) + self._release()

    def gone(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """`peer` is lost or has left."""
        if peer == self.me or peer in self._gone:
            return []
        self._gone.add(peer)
        self._lead.gone(peer)
        steps = self._follow(now)
        if not steps and self._exchanges_with(peer):
            # Others may complete what cannot be completed here: the leader is to tell.
            steps = self._say_here()
        return steps + self._lead_on(now) + self._release() + self._leave_orphan(now)

    def back(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """`peer` can be reached again; what was said in between may not have arrived."""
        if peer not in self._gone:
            return []
        self._gone.discard(peer)
        steps: list[Instruction] = []
        if self._lead.leader == peer:
            self._leader_told = None
        if self.ballots.completed is not None and self._lead.concerns(peer):
            steps.append(Send(to=peer, message=Done(name=self.name, completed=self.ballots.completed)))
        steps += self._follow(now)
        if self._exchanges_with(peer):
            steps += self._ask_for_another_ballot()
        return steps + self._lead_on(now)

    def exchanged(self, ballot: Ballot, *, now: float) -> list[Instruction]:
        """The exchange of `ballot` is complete here."""
        if self.phase is not Phase.EXCHANGING or not self.awaits(ballot):
            return []
        cells = {seat.cell for seat in seats_of(self._members)}
        absent = len(set(self._lead.players) - cells)
        outcome: GroupOutcome = "partial" if absent else "complete"
        if len(self._members) == 1 and len(set(self._lead.players.values())) > 1:
            outcome = "alone"
        members = tuple(PeerId(member.peer_id) for member in self._members)
        return self._complete(ballot, outcome, members, absent, now)

    def fetched(self, ballot: Ballot, members: tuple[PeerId, ...], *, now: float) -> list[Instruction]:
        """The result of `ballot` was downloaded."""
        if self.phase is not Phase.FETCHING or not self.awaits(ballot):
            return []
        return self._complete(ballot, "taken", members, 0, now)

    def fetch_failed(self, *, now: float) -> list[Instruction]:
        """None of the sources gave it: ask the leader again."""
        if self.phase is not Phase.FETCHING:
            return []
        self.phase = Phase.WAITING
        return self._say_here() + self._lead_on(now)

    def cannot_play(self, cell: int, *, now: float) -> list[Instruction]:
        """This peer, asked to play `cell`, cannot: it does not hold that state."""
        self._lead.cannot_play(self.me, cell)
        return self._lead_on(now)

    def blame(self, ballot: Ballot, culprit: PeerId, *, now: float) -> list[Instruction]:
        """This peer, as an owner, received values from `culprit` that are not finite."""
        leader = self._lead.leader
        if leader is None or ballot != self.ballots.promised:
            return []
        message = Culprit(name=self.name, ballot=ballot, peer_id=culprit)
        if leader != self.me:
            return [Send(to=leader, message=message)]
        return self._react(self.me, message, now) + self._lead_on(now)

    def tick(self, *, now: float) -> list[Instruction]:
        """A deadline may have passed."""
        until = self.limits.wait_until
        waiting = self.phase not in (Phase.ABSENT, Phase.FINISHED)
        if waiting and until is not None and now >= until:
            return self._skip(now)
        return self._lead_on(now)

    def next_deadline(self) -> float | None:
        times = []
        if self.phase not in (Phase.ABSENT, Phase.FINISHED):
            times.append(self.limits.wait_until)
        if self._lead.leader == self.me and self._lead.awaits_somebody():
            times.append(self.limits.gather_until)
        return min((time for time in times if time is not None), default=None)

    # how it reacts

    def _react(self, sender: PeerId, message: LineMessage, now: float) -> list[Instruction]:
        match message:
            case Here():
                return self._heard_here(sender, message)
            case Propose():
                return self._proposed(sender, message)
            case Nack():
                self.ballots.saw(message.promised)
                if self._lead.is_member(message.ballot, sender):
                    self._lead.running = None
            case Have() | Done():
                if not self._lead.concerns(sender):
                    return []
                self.ballots.holds(message.completed, sender)
                if isinstance(message, Have):
                    self._lead.running = None
                return self._take_what_is_known()
            case Take():
                return self._told_to_take(message) if self._lead.concerns(sender) else []
            case Play():
                return [FindPlayer(name=self.name, cell=message.cell)] if self._lead.is_asked_for(message.cell) else []
            case CannotPlay():
                self._lead.cannot_play(sender, message.cell)
            case Culprit():
                if self._lead.is_member(message.ballot, sender, message.peer_id):
                    self._lead.expel(PeerId(message.peer_id))
            case _:
                pass
        return []

    def _heard_here(self, sender: PeerId, message: Here) -> list[Instruction]:
        if message.view_digest != self._view_digest:
            # It counts other peers and cannot be a member; its cells are played by others meanwhile.
            for cell, player in self._lead.players.items():
                if player == sender:
                    self._lead.cannot_play(sender, cell)
            return []
        if not self._lead.may_play(sender, [seat.cell for seat in message.seats]):
            return []
        return self._lead.here(sender, message)

    def _proposed(self, sender: PeerId, message: Propose) -> list[Instruction]:
        if sender != message.ballot.leader or message.view_digest != self._view_digest:
            return []
        if sender not in self._lead.players.values() or not is_well_formed(message.members, self._lead.players):
            return []
        if self.ballots.completed is not None:
            self.ballots.saw(message.ballot)
            return [Send(to=sender, message=Have(name=self.name, completed=self.ballots.completed))]
        mine = self._seats_of_mine(message.members)
        if not self._are_mine(mine) or self.phase is Phase.FINISHED:
            return [Send(to=sender, message=CannotPlay(name=self.name, cell=seat.cell)) for seat in mine]
        before = self.ballots.promised
        if not self.ballots.accept(message.ballot):
            if before is None or before == message.ballot:
                return []
            return [Send(to=sender, message=Nack(name=self.name, ballot=message.ballot, promised=before))]
        steps = self._abort(before)
        self.phase = Phase.EXCHANGING
        self._members = message.members
        members = tuple(PeerId(member.peer_id) for member in message.members)
        agreed = GroupAgreed(
            iteration=self.name.iteration,
            round=self.name.round,
            line=self.name.line,
            attempt=message.ballot.attempt,
            leader=message.ballot.leader,
            members=members,
        )
        steps += [
            Tell(fact=agreed),
            OpenExchange(name=self.name, ballot=message.ballot, members=message.members),
        ]
        ready = Ready(name=self.name, ballot=message.ballot)
        return steps + [Send(to=peer, message=ready) for peer in members if peer != self.me]

    def _seats_of_mine(self, members: Collection[Member]) -> list[Seat]:
        return [seat for member in members if member.peer_id == self.me for seat in member.seats]

    def _are_mine(self, seats: list[Seat]) -> bool:
        # Cells and weights only: sums may be NaN, which equals nothing.
        held = {cell: seat.weight for cell, seat in self._seats.items()}
        return bool(seats) and all(held.get(seat.cell) == seat.weight for seat in seats)

    def _exchanges_with(self, peer: PeerId) -> bool:
        return self.phase is Phase.EXCHANGING and any(member.peer_id == peer for member in self._members)

    def _ask_for_another_ballot(self) -> list[Instruction]:
        """A member was out of reach: what it and this peer sent each other under the running ballot may be lost."""
        leader, ballot = self._lead.leader, self.ballots.promised
        if leader is None or ballot is None:
            return []
        if leader == self.me:
            self._lead.running = None
            return []
        return [Send(to=leader, message=Nack(name=self.name, ballot=ballot, promised=ballot))]

    def _take_what_is_known(self) -> list[Instruction]:
        """Takes the result that others hold, where this peer waits for a ballot or is left behind in a lower one.

        A ballot needs all its members, so one that others completed while this peer waits went without it.
        """
        best = self.ballots.best(self._gone)
        if best is None:
            return []
        ballot, promised = best[0], self.ballots.promised
        is_behind = self.phase is Phase.EXCHANGING and promised is not None and promised < ballot
        return self._take(*best) if self.phase is Phase.WAITING or is_behind else []

    def _told_to_take(self, message: Take) -> list[Instruction]:
        completed = self.ballots.completed
        if completed is not None:
            if message.completed == completed:
                return []
            name = self.name
            return [Tell(fact=ResultSuperseded(iteration=name.iteration, round=name.round, line=name.line))]
        if self.phase not in (Phase.WAITING, Phase.EXCHANGING):
            return []
        return self._take(message.completed, tuple(PeerId(source) for source in message.sources))

    def _take(self, ballot: Ballot, sources: tuple[PeerId, ...]) -> list[Instruction]:
        others = tuple(source for source in sources if source != self.me)
        if not others:
            return []
        steps = self._abort(self.ballots.promised)
        self.phase = Phase.FETCHING
        self._fetching = ballot
        return [*steps, FetchResult(name=self.name, ballot=ballot, sources=others)]

    def _say_here(self) -> list[Instruction]:
        """Tells the leader, or this peer itself where it leads, that this peer is here."""
        leader = self._lead.leader
        self._leader_told = leader
        seats = tuple(self._seats[cell] for cell in sorted(self._seats))
        here = Here(
            name=self.name,
            view_digest=self._view_digest,
            seats=seats,
            update_s=self._update_s,
            promised=self.ballots.promised,
        )
        self._lead.here(self.me, here)  # nothing is sent to oneself
        if leader is None or leader == self.me:
            return []
        return [Send(to=leader, message=here)]

    def _follow(self, now: float) -> list[Instruction]:
        """Where the lead has passed to somebody else, tells the new leader what this peer has."""
        leader = self._lead.leader
        if leader == self._leader_told or self.phase is Phase.ABSENT:
            return []
        if self.ballots.completed is None:
            return self._say_here() if self.phase is not Phase.FINISHED else []
        self._leader_told = leader
        if leader is None or leader == self.me:
            return []
        return [Send(to=leader, message=Done(name=self.name, completed=self.ballots.completed))]

    def _lead_on(self, now: float) -> list[Instruction]:
        if self._lead.leader != self.me:
            # Should the lead come back, others have led in between.
            self._lead.running = None
            return []
        until = self.limits.gather_until
        steps: list[Instruction] = []
        for step in self._lead.lead(gather_is_over=until is not None and now >= until):
            if isinstance(step, Send) and step.to == self.me:
                assert isinstance(step.message, Propose | Take)
                steps += self._react(self.me, step.message, now)
            else:
                steps.append(step)
        return steps

    def _abort(self, ballot: Ballot | None) -> list[Instruction]:
        if self.phase is not Phase.EXCHANGING or ballot is None:
            return []
        return [AbortExchange(name=self.name, ballot=ballot)]

    # how it ends

    def _complete(
        self, ballot: Ballot, outcome: GroupOutcome, members: tuple[PeerId, ...], absent: int, now: float
    ) -> list[Instruction]:
        self.ballots.complete(ballot, self.me)
        done = Done(name=self.name, completed=ballot)
        told = (self._lead.everybody() | set(members)) - self._gone - {self.me}
        steps: list[Instruction] = [Send(to=peer, message=done) for peer in sorted(told)]
        steps += self._finish(outcome, ballot, members, absent, now)
        return steps + self._lead_on(now) + self._release()

    def _leave_orphan(self, now: float) -> list[Instruction]:
        """Gives up a line that this peer only plays for others, where all of them are gone: nobody leads it."""
        return self._skip(now) if self._lead.leader is None and self.phase is Phase.WAITING else []

    def _skip(self, now: float) -> list[Instruction]:
        steps = self._abort(self.ballots.promised)
        steps += self._finish("skipped", None, (), len(self._lead.players), now)
        leader = self._lead.leader
        for cell in sorted(self._seats):
            self._lead.cannot_play(self.me, cell)
            if leader is not None and leader != self.me:
                steps.append(Send(to=leader, message=CannotPlay(name=self.name, cell=cell)))
        return steps + self._lead_on(now)

    def _finish(
        self,
        outcome: GroupOutcome,
        ballot: Ballot | None,
        members: tuple[PeerId, ...],
        absent: int,
        now: float,
    ) -> list[Instruction]:
        self.phase = Phase.FINISHED
        allowed = self.limits.wait_until
        waited = WaitEnded(
            iteration=self.name.iteration,
            round=self.name.round,
            waited_for="result",
            seconds=now - self._arrived_at,
            allowed_s=(allowed if allowed is not None else now) - self._arrived_at,
            outcome="deadline" if ballot is None else "arrived",
        )
        finish = FinishLine(
            name=self.name,
            outcome=outcome,
            ballot=ballot,
            members=members,
            attempts=self.ballots.highest_attempt,
            absent=absent,
            seconds=now - self._arrived_at,
        )
        return [Tell(fact=waited), finish]

    def _release(self) -> list[Instruction]:
        """Says once that nobody on the line lacks the result any more."""
        if self._released or self.phase is not Phase.FINISHED:
            return []
        if self._lead.everybody() - self.ballots.all_holders() - {self.me}:
            return []
        self._released = True
        return [ReleaseResult(name=self.name)]
