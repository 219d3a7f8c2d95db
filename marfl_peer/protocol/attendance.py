"""A member's side of a line: the seats it brings, the ballot it exchanges under, the result it fetches.

A member accepts only ballots above those it accepted, for cells that it holds, and answers `have` once it completed
one. Who leads, and who is told what when, is not its business: see leadership and matchmaking.
"""

from __future__ import annotations

from collections.abc import Collection

from marfl_peer.facts import GroupAgreed, ResultSuperseded
from marfl_peer.ids import PeerId
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.bases import Base
from marfl_peer.protocol.instructions import AbortExchange, FetchResult, Instruction, OpenExchange, Send, Tell
from marfl_peer.protocol.lateness import Lateness
from marfl_peer.protocol.lines import Line
from marfl_peer.protocol.messages import Ballot, CannotPlay, Have, Here, Member, Nack, Propose, Ready, Seat, Take
from marfl_peer.protocol.phases import Course, Event, Phase
from marfl_peer.protocol.seats import is_well_formed
from marfl_peer.protocol.speeds import Speeds


class Attendance:
    """`members`: of the ballot that this peer exchanges under, or exchanged under last."""

    def __init__(
        self, me: PeerId, line: Line, *, ballots: BallotBox, late: Lateness, base: Base, speeds: Speeds
    ) -> None:
        self.members: tuple[Member, ...] = ()
        self.arrived_at = 0.0
        self._me, self._line, self._ballots = me, line, ballots
        self._course = Course()
        self._seats: dict[int, Seat] = {}
        self._update_s = 0.0
        self._late, self._base, self._speeds = late, base, speeds
        self._fetching: Ballot | None = None

    @property
    def phase(self) -> Phase:
        return self._course.phase

    @property
    def cells(self) -> list[int]:
        """The cells that this peer plays here, ascending."""
        return sorted(self._seats)

    def may_give_up(self) -> bool:
        """Whether it is here and not through: only then does it wait for anything."""
        return self._course.allows(Event.GAVE_UP)

    def awaits(self, ballot: Ballot) -> bool:
        """Whether the result of `ballot` would be this line's if it came now."""
        match self.phase:
            case Phase.EXCHANGING:
                return ballot == self._ballots.promised
            case Phase.FETCHING:
                return ballot == self._fetching
            case _:
                return False

    def exchanges_with(self, peer: PeerId) -> bool:
        return self.phase is Phase.EXCHANGING and any(member.peer_id == peer for member in self.members)

    def here(self) -> Here:
        """What it tells the leader."""
        return Here(
            name=self._line.name,
            view_digest=self._line.view_digest,
            seats=tuple(self._seats[cell] for cell in self.cells),
            update_s=self._update_s,
            promised=self._ballots.promised,
            late=self._late.named,
            base=self._base.digest,
            full_in=self._base.full.from_now_on(self._line.name.iteration),
            speed=self._speeds.own,
            slowest=self._speeds.slowest(self._line.name.iteration),
        )

    # what happens

    def arrive(self, seat: Seat, *, update_s: float, now: float) -> bool:
        """This peer is ready to play a cell here. Returns whether it is the first that it plays."""
        self._seats[seat.cell] = seat
        self._update_s = update_s
        if not self._course.allows(Event.ARRIVED):
            return False
        self._course.go(Event.ARRIVED)
        self.arrived_at = now
        return True

    def proposed(self, sender: PeerId, message: Propose) -> list[Instruction]:
        """`sender` wants this peer to exchange under a ballot."""
        if not self._is_lawful(sender, message):
            return []
        name, ballots = self._line.name, self._ballots
        if ballots.completed is not None:
            ballots.saw(message.ballot)
            return [Send(to=sender, message=Have(name=name, completed=ballots.completed))]
        mine = [seat for member in message.members if member.peer_id == self._me for seat in member.seats]
        if not self._are_held(mine) or not self._course.allows(Event.PROMISED):
            return [Send(to=sender, message=CannotPlay(name=name, cell=seat.cell)) for seat in mine]
        before = ballots.promised
        if ballots.accept(message.ballot):
            return self._abort(before) + self._open(message)
        if before is None or before == message.ballot:
            return []
        return [Send(to=sender, message=Nack(name=name, ballot=message.ballot, promised=before))]

    def told_to_take(self, message: Take) -> list[Instruction]:
        """The leader decided for a result that others hold."""
        completed = self._ballots.completed
        if completed is None:
            sources = tuple(PeerId(source) for source in message.sources)
            return self._take(message.completed, sources) if self._course.allows(Event.TOOK) else []
        if message.completed == completed:
            return []
        name = self._line.name
        return [Tell(fact=ResultSuperseded(iteration=name.iteration, round=name.round, line=name.line))]

    def take_what_is_known(self, gone: set[PeerId]) -> list[Instruction]:
        """Takes the result that others hold, where this peer waits for a ballot or is left behind in a lower one.

        A ballot needs all its members, so one that others completed while this peer waits went without it.
        """
        best = self._ballots.best(gone)
        if best is None:
            return []
        ballot, promised = best[0], self._ballots.promised
        is_behind = self.phase is Phase.EXCHANGING and promised is not None and promised < ballot
        return self._take(*best) if self.phase is Phase.WAITING or is_behind else []

    def fetch_failed(self) -> bool:
        """None of the sources gave the result. Returns whether it was still wanted."""
        if not self._course.allows(Event.FETCH_FAILED):
            return False
        self._course.go(Event.FETCH_FAILED)
        return True

    def end(self, event: Event) -> list[Instruction]:
        """This peer is through with the line; where it gives up, a running exchange is aborted."""
        steps = self._abort(self._ballots.promised) if event is Event.GAVE_UP else []
        self._course.go(event)
        return steps

    # how it goes on

    def _is_lawful(self, sender: PeerId, message: Propose) -> bool:
        if sender != message.ballot.leader or message.view_digest != self._line.view_digest:
            return False
        if not self._base.is_mine(message.base):
            return False
        return sender in self._line.peers and is_well_formed(message.members, self._line.players)

    def _are_held(self, seats: Collection[Seat]) -> bool:
        # Cells and weights only: sums may be NaN, which equals nothing.
        return bool(seats) and all(
            (held := self._seats.get(seat.cell)) is not None and held.weight == seat.weight for seat in seats
        )

    def _open(self, message: Propose) -> list[Instruction]:
        self._course.go(Event.PROMISED)
        self.members = message.members
        self._base.full.hear(message.full_in, now=self._line.name.iteration)
        name, ballot = self._line.name, message.ballot
        peers = tuple(PeerId(member.peer_id) for member in message.members)
        agreed = GroupAgreed(
            iteration=name.iteration,
            round=name.round,
            line=name.line,
            attempt=ballot.attempt,
            leader=ballot.leader,
            members=peers,
        )
        ready = Ready(name=name, ballot=ballot)
        return [
            Tell(fact=agreed),
            OpenExchange(
                name=name,
                ballot=ballot,
                members=message.members,
                is_coded=bool(message.base),
                shares=message.shares,
            ),
            *(Send(to=peer, message=ready) for peer in peers if peer != self._me),
        ]

    def _take(self, ballot: Ballot, sources: tuple[PeerId, ...]) -> list[Instruction]:
        others = tuple(source for source in sources if source != self._me)
        if not others:
            return []
        steps = self._abort(self._ballots.promised)
        self._course.go(Event.TOOK)
        self._fetching = ballot
        return [*steps, FetchResult(name=self._line.name, ballot=ballot, sources=others)]

    def _abort(self, ballot: Ballot | None) -> list[Instruction]:
        if self.phase is not Phase.EXCHANGING or ballot is None:
            return []
        return [AbortExchange(name=self._line.name, ballot=ballot)]
