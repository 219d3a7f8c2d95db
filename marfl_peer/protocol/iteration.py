"""One iteration's aggregation as this peer sees it: its cells walk through the rounds, axis after axis.

    every cell that this peer plays starts with (vector, weight): its update, or weight 0 for a stand-in
    for round g in 1..G:
        enter the cell's line along axis g, named by the coordinates on the other axes
        agree on a group with those who are there, and exchange
        (vector, weight) <- (weighted mean, sum of weights) of the line

After G rounds every cell holds the mean of all. Each cell walks alone: no round waits for another line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from marfl_peer.facts import CellTakenOver
from marfl_peer.ids import Cell, Iteration, PeerId, Round
from marfl_peer.protocol.bases import Base, FullValues
from marfl_peer.protocol.deadlines import allowance_s
from marfl_peer.protocol.instructions import FindPlayer, FinishLine, Instruction, Send, Tell, waiting
from marfl_peer.protocol.matchmaking import Matchmaking
from marfl_peer.protocol.meetings import Meetings
from marfl_peer.protocol.messages import Ballot, CannotPlay, LineMessage, LineName
from marfl_peer.protocol.phases import Phase
from marfl_peer.protocol.placement import cells_of, default_players
from marfl_peer.protocol.seats import Holding, combine, seats_of
from marfl_peer.protocol.speeds import Speeds
from marfl_peer.protocol.takeover import Answer, TakeOver
from marfl_peer.protocol.timetable import Timetable
from marfl_peer.protocol.view import View
from marfl_peer.protocol.walks import Stand, VectorName, Walk


class Aggregation:
    """The rounds of one iteration. `update_times_s`: of the iterations before, as far as known. `delay_s`: what members
    may be held up by besides their updates. `full` and `speeds` are one for all iterations of this peer."""

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
        delay_s: float = 0.0,
        full: FullValues | None = None,
        speeds: Speeds | None = None,
    ) -> None:
        self.me, self.view, self.iteration = me, view, iteration
        self.rounds = view.grid.rounds
        self.home = view.cell_of[me]
        self.timetable = Timetable(
            allowance=allowance_s(vector_bytes, slowest_link_bytes_per_s, members=max(view.grid.shape, default=1)),
            update_times_s=update_times_s,
            delay_s=delay_s,
        )
        self._gone = set(gone) - {me}
        self._base = Base(full=FullValues() if full is None else full)
        self._speeds = Speeds() if speeds is None else speeds
        players = default_players(view)
        self._lines = Meetings(
            me,
            view,
            iteration=iteration,
            players=players,
            timetable=self.timetable,
            gone=self._gone,
            base=self._base,
            speeds=self._speeds,
        )
        self._results: dict[LineName, Stand] = {}
        self._groups: dict[LineName, tuple[PeerId, ...]] = {}
        self._walks: dict[Cell, Walk] = {}
        self._take_over = TakeOver(me, view, players, self._walks)
        self._update_s = 0.0

    # what happens

    def arrive(self, holding: Holding, *, update_s: float, now: float, base: str = "") -> list[Instruction]:
        """The local update is over: this peer's cells enter round 1, stand-ins with weight 0. `base`: digest of the
        state that it began from, if values may be encoded against it."""
        self._base.digest = base
        self._update_s = update_s
        self.timetable.arrive(self.me, update_s=update_s, now=now)
        nothing = Holding(weight=0, sums=tuple(0.0 for _ in holding.sums), maxima=holding.maxima)
        steps: list[Instruction] = []
        for cell in cells_of(self.view, self.me):
            stand = Stand(vector=None, holding=holding if cell == self.home else nothing)
            self._walks[cell] = Walk(cell, 1, stand)
            steps += self._enter(cell, now)
        return steps + self._answer_those_who_asked(now)

    def heard(self, sender: PeerId, message: LineMessage, *, now: float) -> list[Instruction]:
        """A message about a line of this iteration."""
        line = self._lines.at(message.name)
        if line is None:
            return []
        self.timetable.heard(sender, message, now=now)
        self._speeds.hear(message)
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

    def interrupted(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """What was said last, to `peer` or by it, may be lost."""
        return self._each(lambda line: line.interrupted(peer, now=now), now)

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
        """No source gave the result that was to be fetched."""
        return self._carry_out(self._lines[name].fetch_failed(now=now), now)

    def blame(self, name: LineName, ballot: Ballot, culprit: PeerId, *, now: float) -> list[Instruction]:
        """Values that `culprit` sent under a ballot cannot be averaged."""
        return self._carry_out(self._lines[name].blame(ballot, culprit, now=now), now)

    def left_behind(self, sender: PeerId, name: LineName, *, now: float) -> list[Instruction]:
        """`sender` has a line behind it that one of this peer's cells is on. If its result was asked for, nobody holds
        it any more, and that cell goes on without; else the sender will not come there."""
        line = self._lines.known(name)
        if line is not None and line.phase is Phase.FETCHING:
            return self._carry_out(self._lines[name].give_up(now=now), now)
        return self.gone(sender, now=now)

    # what it knows

    def is_of_home(self, name: LineName) -> bool:
        """Whether a line is the one that this peer's own cell is on now."""
        round = self.home_round()
        return 1 <= round <= self.rounds and name == self._name(
            Round(round), self.view.grid.line_name(self.home, Round(round))
        )

    @property
    def view_digest(self) -> str:
        return self.view.digest

    def next_deadline(self) -> float | None:
        return self._lines.next_deadline()

    def last_deadline(self) -> float | None:
        """D_G of this peer: until when it serves results of this iteration to others."""
        return self.timetable.limits(max(self.rounds, 1)).wait_until

    def home_round(self) -> int:
        """The round that this peer's own cell is in; G + 1 when it is through."""
        walk = self._walks.get(self.home)
        return 0 if walk is None else walk.round

    def home_stand(self) -> Stand:
        """What this peer's own cell holds now."""
        return self._walks[self.home].stand

    def home_stand_at(self, round: int) -> Stand | None:
        """What this peer's own cell held at the start of `round`, 1..G + 1; None before it is there."""
        walk = self._walks.get(self.home)
        return None if walk is None else walk.stand_at(round)

    def last_group(self) -> tuple[PeerId, ...]:
        """The members of the ballot that this peer's own cell ended the last round with; without one, itself."""
        if not self.rounds:
            return (self.me,)
        line = self.view.grid.line_name(self.home, Round(self.rounds))
        name = self._name(Round(self.rounds), line)
        return self._groups.get(name, ()) or (self.me,)

    def contribution(self, name: LineName, cells: Iterable[int]) -> list[tuple[VectorName, int]]:
        """The vectors, with their weights, that this peer's `cells` bring to a line, in the order of the cells."""
        stands = [self._walks[Cell(cell)].stand_at(name.round) for cell in sorted(cells)]
        return [(stand.vector, stand.holding.weight) for stand in stands if stand is not None]

    def result_of(self, name: LineName) -> Stand | None:
        """What a line ended with here; None as long as it has not."""
        return self._results.get(name) if self.completed(name) is not None else None

    def awaits(self, name: LineName, ballot: Ballot) -> bool:
        """Whether the result of `ballot` would be the line's if it came now; if not, it must not be named so."""
        line = self._lines.known(name)
        return line is not None and line.awaits(ballot)

    def completed(self, name: LineName) -> Ballot | None:
        """The ballot of a line whose result is held here."""
        line = self._lines.known(name)
        return None if line is None else line.ballots.completed

    def kept_for_others(self) -> set[VectorName]:
        """The vectors that this peer could take a cell over with."""
        return self._take_over.vectors()

    def through(self) -> bool:
        """Whether all cells that this peer plays went through all rounds."""
        return bool(self._walks) and all(walk.round > self.rounds for walk in self._walks.values())

    def _name(self, round: Round, line: int) -> LineName:
        return LineName(iteration=self.iteration, round=round, line=line, view_mark=self.view.mark)

    # a cell's way: into the line of its round, and with its result into the next

    def _enter(self, cell: Cell, now: float) -> list[Instruction]:
        """A cell goes to the line of its round; where that is over already, it takes what there is."""
        walk = self._walks[cell]
        if walk.round > self.rounds:
            return []
        round = Round(walk.round)
        name = self._name(round, self.view.grid.line_name(cell, round))
        line = self._lines.at(name)
        assert line is not None
        if line.ballots.completed is not None or line.is_given_up:
            return self._advance(walk, self.result_of(name), now)
        return self._carry_out(line.arrive(walk.stand.holding.seat(cell), update_s=self._update_s, now=now), now)

    def _advance(self, walk: Walk, result: Stand | None, now: float) -> list[Instruction]:
        walk.advance(result)
        return self._enter(walk.cell, now)

    def _finish(self, finish: FinishLine, now: float) -> list[Instruction]:
        """A line is over: its cells go on, also those that only this peer can play from here."""
        result = self.result_of(finish.name)
        self._groups[finish.name] = finish.members
        if self._is_unlike_others(finish):
            self._base.full.due_after(self.iteration)
        steps: list[Instruction] = []
        for cell in self.view.grid.line(Cell(finish.name.line), Round(finish.name.round)):
            walk = self._walks.get(cell)
            if walk is not None and walk.round == finish.name.round:
                steps += self._advance(walk, result, now)
        if finish.outcome in ("partial", "alone"):
            for cell in self._take_over.left_to_me(finish.name, self._lines[finish.name].members):
                steps += self._play(cell, finish.name.round + 1, now)
        return steps + self._answer_those_who_asked(now)

    def _is_unlike_others(self, finish: FinishLine) -> bool:
        """Whether a line ended otherwise than parallel ones, by other bits or by what is left over from rounding."""
        if finish.outcome in ("taken", "skipped"):
            return True
        # In round 1 no lines have equal inputs; later one of fewer members sums up in another order.
        return finish.name.round > 1 and len(finish.members) < len(self._lines[finish.name].line.players)

    def _play(self, cell: Cell, round: int, now: float) -> list[Instruction]:
        """Takes over a cell, unless this peer plays it already, does not hold its state, or the round's time is up."""
        held, until = self._take_over.state_of(cell, round), self.timetable.limits(round).wait_until
        if cell in self._walks or held is None or (until is not None and now >= until):
            return []
        self._walks[cell] = Walk(cell, round, held)
        fact = CellTakenOver(iteration=self.iteration, round=round, cell=cell, instead_of=self.view.peer_at[cell])
        return [Tell(fact=fact), *self._enter(cell, now)]

    def _answer_those_who_asked(self, now: float) -> list[Instruction]:
        """Plays the cells that leaders asked for, as soon as this peer holds their state."""
        steps: list[Instruction] = []
        for name, cell in self._take_over.asked():
            match self._take_over.answer(name, cell):
                case Answer.PLAY:
                    # Where the round's time is up here, nobody is to wait for it.
                    steps += self._play(cell, name.round, now) or self._refuse(name, cell, now)
                case Answer.REFUSE:
                    steps += self._refuse(name, cell, now)
                case Answer.LATER | Answer.NEEDLESS:
                    pass
        return steps

    def _refuse(self, name: LineName, cell: Cell, now: float) -> list[Instruction]:
        line = self._lines[name]
        leader = line.leader
        if leader is None or leader == self.me:
            return self._carry_out(line.cannot_play(cell, now=now), now)
        return [Send(to=leader, message=CannotPlay(name=name, cell=cell))]

    # what the lines say

    def _each(self, step: Callable[[Matchmaking], list[Instruction]], now: float) -> list[Instruction]:
        return [passed for line in self._lines.all() for passed in self._carry_out(step(line), now)]

    def _carry_out(self, steps: list[Instruction], now: float) -> list[Instruction]:
        """Keeps what concerns the cells, passes on what concerns the shell."""
        passed: list[Instruction] = []
        for step in steps:
            match step:
                case FindPlayer():
                    self._take_over.ask(step.name, Cell(step.cell))
                    passed += self._answer_those_who_asked(now)
                case FinishLine():
                    passed.append(step)
                    passed += self._finish(step, now)
                case Send():
                    passed.append(waiting(step, self.timetable.waited_s(now)))
                case _:
                    passed.append(step)
        return passed
