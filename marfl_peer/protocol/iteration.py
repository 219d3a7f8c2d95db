"""One iteration's aggregation as this peer sees it: its cells walk through the rounds, axis after axis.

A cell holds (vector, weight). A round replaces both by the weighted mean and the sum of its line, so after G rounds
every cell holds the mean of all. A peer plays its own cell, stand-ins, and cells that it takes over; each walks alone.
Vectors are named by where they came from: None is this peer's own update, a line's name is that line's result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from marfl_peer.facts import CellTakenOver
from marfl_peer.ids import Cell, Iteration, PeerId, Round
from marfl_peer.protocol.deadlines import allowance_s, gather_deadline, patience_s, round_deadline
from marfl_peer.protocol.instructions import FindPlayer, FinishLine, Instruction, Send, Tell
from marfl_peer.protocol.matchmaking import Limits, Matchmaking
from marfl_peer.protocol.messages import Ballot, CannotPlay, Here, LineMessage, LineName, Propose
from marfl_peer.protocol.placement import candidates, cells_of, default_players
from marfl_peer.protocol.seats import Holding, combine, seats_of
from marfl_peer.protocol.view import View

VectorName = LineName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """What a cell holds at the start of a round."""

    vector: VectorName
    holding: Holding
    is_of_line: bool = True
    """Whether it is what every cell of the line before it holds; not so where this peer gave that line up."""


@dataclass(slots=True)
class Walk:
    """A cell that this peer plays: `stands[g - 1]` is what it held at the start of round g."""

    cell: Cell
    first_round: int
    stands: list[Stand]

    @property
    def round(self) -> int:
        """The round it is in; G + 1 when it is through."""
        return self.first_round + len(self.stands) - 1

    @property
    def stand(self) -> Stand:
        return self.stands[-1]

    def stand_at(self, round: int) -> Stand | None:
        index = round - self.first_round
        return self.stands[index] if 0 <= index < len(self.stands) else None


@dataclass(slots=True)
class _Clock:
    """When the aggregation began: for leading, when the first of all arrived; for waiting, when this peer did."""

    patience: float
    allowance: float
    first_arrival: float | None = None
    own_arrival: float | None = None
    update_times: dict[str, float] = field(default_factory=dict)

    def limits(self, round: int) -> Limits:
        patience = max(self.patience, patience_s(list(self.update_times.values())))
        until = None if self.own_arrival is None else round_deadline(self.own_arrival, round, patience, self.allowance)
        gather = self.first_arrival
        gather = None if gather is None else gather_deadline(gather, round, patience, self.allowance)
        return Limits(gather_until=gather, wait_until=until)


class Aggregation:
    """The rounds of one iteration."""

    def __init__(
        self,
        *,
        me: PeerId,
        view: View,
        iteration: Iteration,
        vector_bytes: int,
        slowest_link_bytes_per_s: float,
        update_times_s: Iterable[float],
        gone: Iterable[PeerId],
    ) -> None:
        self.me, self.view, self.iteration = me, view, iteration
        self.rounds = view.grid.rounds
        self.home = view.cell_of[me]
        self._players = default_players(view)
        self._gone = set(gone) - {me}
        self._lines: dict[LineName, Matchmaking] = {}
        self._walks: dict[Cell, Walk] = {}
        self._wanted: set[tuple[LineName, Cell]] = set()
        self._results: dict[LineName, Stand] = {}
        self._update_s = 0.0
        self._clock = _Clock(
            patience=patience_s(list(update_times_s)),
            allowance=allowance_s(vector_bytes, slowest_link_bytes_per_s),
        )

    # what happens

    def arrive(self, holding: Holding, *, update_s: float, now: float) -> list[Instruction]:
        """The local update is over: this peer's cells enter round 1, stand-ins with weight 0."""
        self._update_s = update_s
        self._clock.update_times[self.me] = update_s
        self._clock.own_arrival = now
        self._clock.first_arrival = now if self._clock.first_arrival is None else self._clock.first_arrival
        nothing = Holding(weight=0, sums=tuple(0.0 for _ in holding.sums), maxima=holding.maxima)
        steps: list[Instruction] = []
        for cell in cells_of(self.view, self.me):
            stand = Stand(vector=None, holding=holding if cell == self.home else nothing)
            self._walks[cell] = Walk(cell, 1, [stand])
            steps += self._enter(cell, now)
        return steps + self._answer_wanted(now)

    def heard(self, sender: PeerId, message: LineMessage, *, now: float) -> list[Instruction]:
        """A message about a line of this iteration."""
        line = self._line(message.name)
        if line is None:
            return []
        if self._clock.first_arrival is None:
            self._clock.first_arrival = now
        if isinstance(message, Here):
            self._clock.update_times[sender] = message.update_s
        if isinstance(message, Propose):
            self._clock.update_times |= {member.peer_id: member.update_s for member in message.members}
        steps = self.back(sender, now=now)
        return steps + self._carry_out(line.heard(sender, message, now=now), now)

    def gone(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """`peer` is lost or has left."""
        if peer == self.me:
            return []
        self._gone.add(peer)
        return self._each(lambda line: line.gone(peer, now=now), now)

    def back(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """`peer` can be reached again."""
        if peer not in self._gone:
            return []
        self._gone.discard(peer)
        return self._each(lambda line: line.back(peer, now=now), now)

    def tick(self, *, now: float) -> list[Instruction]:
        return self._each(lambda line: line.tick(now=now), now)

    def exchanged(self, name: LineName, ballot: Ballot, *, now: float) -> list[Instruction]:
        """The exchange of a ballot is complete here; its result is the vector called `name`."""
        if not self.awaits(name, ballot):
            return []
        line = self._lines[name]
        self._results[name] = Stand(vector=name, holding=combine(seats_of(line.members)))
        return self._carry_out(line.exchanged(ballot, now=now), now)

    def fetched(
        self, name: LineName, ballot: Ballot, members: tuple[PeerId, ...], holding: Holding, *, now: float
    ) -> list[Instruction]:
        """The result of a ballot that others completed was downloaded; it is the vector called `name`."""
        if not self.awaits(name, ballot):
            return []
        self._results[name] = Stand(vector=name, holding=holding)
        return self._carry_out(self._lines[name].fetched(ballot, members, now=now), now)

    def fetch_failed(self, name: LineName, *, now: float) -> list[Instruction]:
        return self._carry_out(self._lines[name].fetch_failed(now=now), now)

    def blame(self, name: LineName, ballot: Ballot, culprit: PeerId, *, now: float) -> list[Instruction]:
        return self._carry_out(self._lines[name].blame(ballot, culprit, now=now), now)

    # what it knows

    def next_deadline(self) -> float | None:
        self._set_limits()
        times = [line.next_deadline() for line in self._lines.values()]
        return min((time for time in times if time is not None), default=None)

    def last_deadline(self) -> float | None:
        """D_G of this peer: until when it serves results of this iteration to others."""
        return self._clock.limits(max(self.rounds, 1)).wait_until

    def home_round(self) -> int:
        """The round that this peer's own cell is in; G + 1 when it is through."""
        walk = self._walks.get(self.home)
        return 0 if walk is None else walk.round

    def home_stand(self) -> Stand:
        """What this peer's own cell holds now."""
        return self._walks[self.home].stand

    def contribution(self, name: LineName, cells: Iterable[int]) -> list[tuple[VectorName, int]]:
        """The vectors, with their weights, that this peer's `cells` bring to a line, in the order of the cells."""
        stands = [self._walks[Cell(cell)].stand_at(name.round) for cell in sorted(cells)]
        return [(stand.vector, stand.holding.weight) for stand in stands if stand is not None]

    def result_of(self, name: LineName) -> Stand | None:
        """What a line ended with here; None as long as it has not."""
        line = self._lines.get(name)
        return self._results.get(name) if line is not None and line.ballots.completed is not None else None

    def awaits(self, name: LineName, ballot: Ballot) -> bool:
        """Whether the result of `ballot` would be the line's if it came now; if not, it must not be named so."""
        line = self._lines.get(name)
        return line is not None and line.awaits(ballot)

    def completed(self, name: LineName) -> Ballot | None:
        line = self._lines.get(name)
        return None if line is None else line.ballots.completed

    def through(self) -> bool:
        """Whether all cells that this peer plays went through all rounds."""
        return bool(self._walks) and all(walk.round > self.rounds for walk in self._walks.values())

    # how it goes on

    def _each(self, step: Callable[[Matchmaking], list[Instruction]], now: float) -> list[Instruction]:
        steps: list[Instruction] = []
        self._set_limits()
        for line in [self._lines[name] for name in sorted(self._lines)]:
            steps += self._carry_out(step(line), now)
        return steps

    def _set_limits(self) -> None:
        for name, line in self._lines.items():
            line.limits = self._clock.limits(name.round)

    def _line(self, name: LineName) -> Matchmaking | None:
        """The machine of a line, made when it is first heard of; None for a line that the grid does not have."""
        line = self._lines.get(name)
        if line is None:
            round, lowest = Round(name.round), Cell(name.line)
            if name.iteration != self.iteration or not 1 <= round <= self.rounds or lowest >= self.view.grid.cells:
                return None
            cells = self.view.grid.line(lowest, round)
            if cells[0] != lowest:
                return None
            line = self._lines[name] = Matchmaking(
                me=self.me,
                name=name,
                players={cell: self._players[cell] for cell in cells},
                candidates={cell: candidates(self.view, cell, round) for cell in cells},
                view_digest=self.view.digest,
                gone=self._gone,
            )
        line.limits = self._clock.limits(name.round)
        return line

    def _enter(self, cell: Cell, now: float) -> list[Instruction]:
        """A cell goes to the line of its next round; where that is over already, it takes what there is."""
        walk = self._walks[cell]
        if walk.round > self.rounds:
            return []
        round = Round(walk.round)
        name = LineName(iteration=self.iteration, round=round, line=self.view.grid.line_name(cell, round))
        result = self.result_of(name)
        if result is not None:
            return self._advance(walk, result, now)
        line = self._line(name)
        assert line is not None
        if line.is_given_up:
            return self._advance(walk, None, now)
        seat = walk.stand.holding.seat(cell)
        return self._carry_out(line.arrive(seat, update_s=self._update_s, now=now), now)

    def _advance(self, walk: Walk, result: Stand | None, now: float) -> list[Instruction]:
        """A round is over for a cell. Without a result, or on a line of zeros, it keeps its vector."""
        stand = replace(walk.stand, is_of_line=False)
        if result is not None:
            vector = result.vector if result.holding.weight else stand.vector
            stand = Stand(vector=vector, holding=result.holding)
        walk.stands.append(stand)
        return self._enter(walk.cell, now)

    def _carry_out(self, steps: list[Instruction], now: float) -> list[Instruction]:
        """Keeps what concerns the cells, passes on what concerns the shell."""
        passed: list[Instruction] = []
        for step in steps:
            match step:
                case FinishLine():
                    passed.append(step)
                    passed += self._finish_line(step, now)
                case FindPlayer():
                    self._wanted.add((step.name, Cell(step.cell)))
                    passed += self._answer_wanted(now)
                case _:
                    passed.append(step)
        return passed

    def _finish_line(self, finish: FinishLine, now: float) -> list[Instruction]:
        result = None if finish.outcome == "skipped" else self._results.get(finish.name)
        steps: list[Instruction] = []
        for cell in self.view.grid.line(Cell(finish.name.line), Round(finish.name.round)):
            walk = self._walks.get(cell)
            if walk is not None and walk.round == finish.name.round:
                steps += self._advance(walk, result, now)
        if finish.outcome in ("partial", "alone"):
            steps += self._play_for_absent(finish.name, now)
        return steps + self._answer_wanted(now)

    def _play_for_absent(self, name: LineName, now: float) -> list[Instruction]:
        """Take-over, unasked: who was not in this line's ballot cannot hold its result when the next round begins.

        So the next lines neither wait for a slow peer nor lose the weight behind its cell. Of the members the lowest
        id plays it, rather one that plays no other cell of the next line.
        """
        round = Round(name.round + 1)
        if round > self.rounds:
            return []
        members = self._lines[name].members
        present = {seat.cell for seat in seats_of(members)}
        steps: list[Instruction] = []
        for cell in self.view.grid.line(Cell(name.line), Round(name.round)):
            if cell in present or cell in self._walks:
                continue
            near = {self._players[other] for other in self.view.grid.line(cell, round)}
            taker = min((member.peer_id for member in members), key=lambda peer: (peer in near, peer))
            held = self._equal_stand(cell, round)
            if taker == self.me and held is not None:
                steps += self._take_over(cell, round, held, now)
        return steps

    def _answer_wanted(self, now: float) -> list[Instruction]:
        """Take-over: plays the cells that leaders asked for, as soon as this peer holds their state."""
        steps: list[Instruction] = []
        for name, cell in sorted(self._wanted):
            if cell in self._walks:
                self._wanted.discard((name, cell))
                continue
            held = self._equal_stand(cell, name.round)
            if held is not None:
                self._wanted.discard((name, cell))
                steps += self._take_over(cell, name.round, held, now)
            elif self._walks and not self._may_hold(cell, name.round):
                self._wanted.discard((name, cell))
                steps += self._refuse(name, cell, now)
        return steps

    def _take_over(self, cell: Cell, round: int, stand: Stand, now: float) -> list[Instruction]:
        self._walks[cell] = Walk(cell, round, [stand])
        player = self.view.peer_at[cell]
        fact = CellTakenOver(iteration=self.iteration, round=round, cell=cell, instead_of=player)
        return [Tell(fact=fact), *self._enter(cell, now)]

    def _refuse(self, name: LineName, cell: Cell, now: float) -> list[Instruction]:
        line = self._line(name)
        if line is None:
            return []
        leader = line.leader
        if leader is None or leader == self.me:
            return self._carry_out(line.cannot_play(cell, now=now), now)
        return [Send(to=leader, message=CannotPlay(name=name, cell=cell))]

    def _equals(self, cell: Cell, round: int) -> list[Walk]:
        """This peer's walks whose state at the start of `round` is that of `cell`."""
        if not 1 < round <= self.rounds:
            return []
        equal = self.view.grid.same_state(cell, Round(round))
        return [self._walks[other] for other in equal if other in self._walks]

    def _equal_stand(self, cell: Cell, round: int) -> Stand | None:
        for walk in self._equals(cell, round):
            stand = walk.stand_at(round)
            if stand is not None and stand.is_of_line:
                return stand
        return None

    def _may_hold(self, cell: Cell, round: int) -> bool:
        return any(walk.round < round for walk in self._equals(cell, round))
