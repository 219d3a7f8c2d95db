"""The leader of a line: who is here, who plays the cells of those that are gone, when to propose, whom to give results.

The lowest live id among the line's default players leads, unless it is called late. It waits for every cell until its
player is gone or the gather deadline passes; a lost player's cell is offered to those that hold its state (take-over),
in their order. A player that sent values which cannot be averaged is left out, but leads on if it leads: only this
line's leader knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from marfl_peer.ids import PeerId
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.bases import Base
from marfl_peer.protocol.instructions import FindPlayer, Instruction, Send
from marfl_peer.protocol.lateness import Lateness
from marfl_peer.protocol.lines import Line
from marfl_peer.protocol.messages import Ballot, Here, Member, Play, Propose, Seat, Take
from marfl_peer.protocol.shares import shares_around, shares_of
from marfl_peer.protocol.speeds import Speeds


class Leadership:
    """Bookkeeping of one line. Every peer of the line keeps it, so that any of them can take the lead.

    `running`: the proposal that this peer leads and nothing has ended yet. `gone` is its owner's and changes with it.
    """

    def __init__(
        self,
        me: PeerId,
        line: Line,
        *,
        ballots: BallotBox,
        gone: set[PeerId],
        late: Lateness,
        base: Base,
        speeds: Speeds,
    ) -> None:
        self.running: Propose | None = None
        self._me, self._line = me, line
        self._ballots, self._gone, self._late = ballots, gone, late
        self._base, self._speeds = base, speeds
        self._heard: dict[PeerId, Here] = {}
        self._expelled: set[PeerId] = set()
        self._asked: dict[int, PeerId] = {}
        self._refused: dict[int, set[PeerId]] = {}
        self._given: dict[PeerId, Ballot] = {}
        self._asking: set[PeerId] = set()

    @property
    def leader(self) -> PeerId | None:
        """Who leads now, as far as this peer knows; None where every player of the line is gone."""
        return self._late.leader_of(self.players())

    def players(self) -> frozenset[PeerId]:
        """The default players of the line that are alive."""
        return self._line.peers - self._gone

    def is_here(self, peer: PeerId) -> bool:
        """Whether `peer` said so, and neither left nor gave up."""
        return peer in self._heard and peer not in self._gone

    def has_company(self) -> bool:
        """Whether a ballot of those who are here would have two members."""
        return len({peer for peer, _ in self._seats().values()}) > 1

    def heard(self, sender: PeerId, message: Here) -> list[Instruction]:
        """Somebody else says that it is here: it is seated only where it may sit."""
        if message.view_digest != self._line.view_digest:
            # It counts other peers and cannot be a member; its cells are played by others meanwhile.
            for cell, player in self._line.players.items():
                if player == sender:
                    self.cannot_play(sender, cell)
            return []
        if not self._line.may_play(sender, [seat.cell for seat in message.seats]):
            return []
        return self.here(sender, message)

    def here(self, peer: PeerId, here: Here) -> list[Instruction]:
        """`peer` is ready with its seats. Said again, it asks for the proposal and for the result again."""
        known = self._heard.get(peer)
        if known is None or len(known.seats) <= len(here.seats):
            # Seats are only added: fewer of them is old news.
            self._heard[peer] = here
        self._given.pop(peer, None)
        self._ballots.saw(here.promised)
        for seat in here.seats:
            self._refused.get(seat.cell, set()).discard(peer)
        running = self.running
        if running is None or all(member.peer_id != peer for member in running.members):
            return []
        if here.promised == running.ballot:
            # It accepted, and asks nevertheless: its part of the exchange may be lost.
            self._asking.add(peer)
            return []
        return [] if peer == self._me else [Send(to=peer, message=running)]

    def gone(self, peer: PeerId) -> None:
        """`peer` is lost, or no longer awaits the result of this line."""
        self._heard.pop(peer, None)
        self.interrupted(peer)

    def interrupted(self, peer: PeerId) -> None:
        """What `peer` was told may not have arrived: it has to be asked, told and given it again."""
        for cell in [cell for cell, asked in self._asked.items() if asked == peer]:
            del self._asked[cell]
        self._given.pop(peer, None)
        self._break_ballot_of(peer)

    def expel(self, peer: PeerId) -> None:
        """`peer` sent values that cannot be averaged: it is left out of this line for good, and given the result."""
        self._expelled.add(peer)
        self._break_ballot_of(peer)

    def is_member(self, ballot: Ballot, *peers: str) -> bool:
        """Whether `ballot` is running under this leader and has all of `peers` as members."""
        if self.running is None or self.running.ballot != ballot:
            return False
        return {member.peer_id for member in self.running.members} >= set(peers)

    def cannot_play(self, peer: PeerId, cell: int) -> None:
        """`peer` does not play `cell` here, or no longer: it gave up."""
        if cell not in self._line.players:
            return
        self._refused.setdefault(cell, set()).add(peer)
        here = self._heard.get(peer)
        if here is not None and any(seat.cell == cell for seat in here.seats):
            self.gone(peer)

    def lead(self, *, gather_is_over: bool) -> list[Instruction]:
        """What the leader does now. Calling it again without news does nothing."""
        best = self._ballots.best(self._gone)
        if best is not None:
            return self._give(*best)
        if self.running is not None:
            return []
        seats = self._seats()
        awaited = self._awaited_cells(seats)
        steps = self._seek_players(awaited)
        if seats and (gather_is_over or not awaited):
            steps += self._propose(seats)
        return steps

    def awaits_somebody(self) -> bool:
        """Whether the gather deadline matters: somebody is here and nothing has been proposed."""
        return self.running is None and self._ballots.best(self._gone) is None and bool(self._seats())

    def everybody(self) -> frozenset[PeerId]:
        """The live peers that have to do with this line."""
        return (self._line.peers | set(self._heard)) - self._gone

    def _out(self) -> set[PeerId]:
        return self._gone | self._expelled

    def _break_ballot_of(self, peer: PeerId) -> None:
        if self.running is not None and any(member.peer_id == peer for member in self.running.members):
            self.running = None

    def _seats(self) -> dict[int, tuple[PeerId, Seat]]:
        """Who plays each cell that is here: its default player if it is here, else the lowest id."""
        seats: dict[int, tuple[PeerId, Seat]] = {}
        for peer in sorted(set(self._heard) - self._out()):
            for seat in self._heard[peer].seats:
                if seat.cell not in seats or self._line.players.get(seat.cell) == peer:
                    seats[seat.cell] = (peer, seat)
        return seats

    def _awaited_cells(self, seats: Collection[int]) -> list[int]:
        """Cells that may still come: their player is alive, or somebody who holds their state is."""
        return [cell for cell in sorted(self._line.players) if cell not in seats and self._may_come(cell)]

    def _may_come(self, cell: int) -> bool:
        return self._player_may_come(cell) or self._next_candidate(cell) is not None

    def _player_may_come(self, cell: int) -> bool:
        return self._line.players[cell] not in self._out() | self._refused.get(cell, set())

    def _next_candidate(self, cell: int) -> PeerId | None:
        """Whom to ask for a lost player's cell; the one that was asked, as long as it may still answer.

        Rather one that plays no other cell of this line: cells of one player are summed before the line is, in
        another order than in parallel lines, and equal inputs would give unequal bits.
        """
        out = self._out() | self._refused.get(cell, set()) | {self._line.players[cell]}
        able = [peer for peer in self._line.candidates.get(cell, ()) if peer not in out]
        return min(able, key=lambda peer: peer in self._line.peers, default=None)

    def _seek_players(self, awaited: Iterable[int]) -> list[Instruction]:
        steps: list[Instruction] = []
        for cell in awaited:
            if self._player_may_come(cell):
                continue
            candidate = self._next_candidate(cell)
            if candidate is None or self._asked.get(cell) == candidate:
                continue
            self._asked[cell] = candidate
            if candidate == self._me:
                steps.append(FindPlayer(name=self._line.name, cell=cell))
            else:
                steps.append(Send(to=candidate, message=Play(name=self._line.name, cell=cell)))
        return steps

    def _propose(self, seats: Mapping[int, tuple[PeerId, Seat]]) -> list[Instruction]:
        by_peer: dict[PeerId, list[Seat]] = {}
        for cell in sorted(seats):
            peer, seat = seats[cell]
            by_peer.setdefault(peer, []).append(seat)
        members = tuple(
            Member(peer_id=peer, seats=tuple(held), update_s=self._heard[peer].update_s)
            for peer, held in sorted(by_peer.items(), key=lambda item: item[1][0].cell)
        )
        ballot = self._ballots.next(self._me)
        self._asking.clear()
        name, heres = self._line.name, [self._heard[PeerId(member.peer_id)] for member in members]
        self._base.full.hear((one for here in heres for one in here.full_in), now=name.iteration)
        sides = [PeerId(member.peer_id) not in self._line.dial_only for member in members]
        parted = shares_around(sides) if self._speeds.balances else ()
        base = self._base.agreed((here.base for here in heres), iteration=name.iteration)
        if parted and base:
            # What rounding left over of a chunk is its owner's, and parallel lines must have the same owners.
            self._base.full.due_after(name.iteration)
            base = ""
        self.running = Propose(
            name=name,
            ballot=ballot,
            view_digest=self._line.view_digest,
            members=members,
            base=base,
            full_in=self._base.full.from_now_on(name.iteration),
            slowest=self._speeds.slowest(name.iteration),
            shares=parted or (shares_of([here.speed for here in heres]) if self._speeds.balances and not base else ()),
        )
        return [Send(to=PeerId(member.peer_id), message=self.running) for member in members]

    def _give(self, best: Ballot, sources: tuple[PeerId, ...]) -> list[Instruction]:
        """Tells everybody that is here, lacks a result and will not get it by itself, where to fetch it."""
        finishing: set[str] = set()
        if self.running is not None and self.running.ballot == best:
            finishing = {member.peer_id for member in self.running.members} - self._asking
        lacking = set(self._heard) - self._ballots.all_holders() - finishing
        steps: list[Instruction] = []
        for peer in sorted(lacking):
            if self._given.get(peer) != best:
                self._given[peer] = best
                steps.append(Send(to=peer, message=Take(name=self._line.name, completed=best, sources=sources)))
        return steps
