"""The way of the data through one iteration, as in the paper: local update -> for every round: group key -> group ->
exchange -> average -> next axis. And the way back for a peer that fell behind.

MAR-FL (arXiv 2512.05234) Algorithm 1; the grid's rules are in `protocol/`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from marfl_peer.averaging.finite import is_finite
from marfl_peer.clock import Clock
from marfl_peer.facts import IterationSkipped, IterationStarted, Sink, ViewChanged
from marfl_peer.ids import Iteration, PeerId, Round
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.groups import Groups
from marfl_peer.peer.roster import Roster
from marfl_peer.peer.rounds import Rounds
from marfl_peer.peer.states import State, States
from marfl_peer.protocol.deadlines import patience_s
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.view import View

ASSUMED_LINK_BYTES_PER_S = 10e6
"""Until links are measured: on a slower one rounds may take longer than their deadline allows."""
STATE_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Averaged:
    """What every member of the view holds after G rounds. `vector` [n] is the peer's own until it is given back."""

    vector: Tensor
    holding: Holding
    groups_complete: int
    groups_partial: int
    peers: int


class Iterations:
    """`iteration` is the last one finished: `states.agreed` is the state after it."""

    def __init__(
        self,
        *,
        me: PeerId,
        roster: Roster,
        groups: Groups,
        aggregator: Aggregator,
        states: States,
        clock: Clock,
        tell: Sink,
    ) -> None:
        self.me = me
        self.iteration = Iteration(0)
        self.rounds: Rounds | None = None
        self._roster, self._groups, self._aggregator, self._states = roster, groups, aggregator, states
        self._clock, self._tell = clock, tell
        self._needed = 0
        self._update_s: list[float] = []
        self._told_digest = ""

    # one iteration

    def open(self) -> View:
        """The view of the next iteration becomes current: grid, cells, and the groups' keys that changed."""
        view = self._roster.view(Iteration(self.iteration + 1))
        self._roster.iteration = view.iteration
        self.rounds = self._aggregator.begin(
            view,
            slowest_link_bytes_per_s=ASSUMED_LINK_BYTES_PER_S,
            update_times_s=self._update_s,
            gone=self._roster.gone(),
        )
        if view.digest != self._told_digest:
            self._told_digest = view.digest
            self._tell_view(view)
            self._groups.prepare(view)
        self._tell(IterationStarted(iteration=view.iteration))
        return view

    async def average(self, vector: Tensor, holding: Holding, *, update_s: float) -> Averaged | None:
        """All rounds of the open iteration. None where the swarm went on without this peer: catch up.

        `vector` [n] belongs to the rounds from now on; they give it back to the pool unless it is the result itself.
        """
        assert self.rounds is not None
        self._update_s = [update_s]
        if not is_finite(vector):
            holding = Holding(weight=0, sums=holding.sums, maxima=holding.maxima)
            vector.copy_(self._states.agreed.vector) if self._states.agreed is not None else vector.zero_()
        while True:
            rounds = self.rounds
            view = rounds.aggregation.view
            cell = view.cell_of[self.me]
            rounds.arrive(vector, holding, update_s=update_s)
            for axis in range(view.grid.rounds):
                round = Round(axis + 1)
                # Its coordinates without this axis are the group key, under which the line's members find each other;
                self._groups.meet(view, cell, round)
                # they agree on a group, exchange and average; then the key rotates to the next axis.
                await rounds.round(round)
            if self._needed > self.iteration and rounds.aggregation.home_round() <= view.grid.rounds:
                return None
            if not rounds.moved:
                break
            if self._numbers_left_out(self.iteration + 1):
                if rounds.aggregation.home_round() > view.grid.rounds > 0:
                    break
                # What was exchanged in this one counts nowhere: the update goes into the next one as it was.
                vector = vector.clone()
                self._aggregator.drop_current()
                self.leap()
            if not self._roster.is_member(Iteration(self.iteration + 1)):
                return None
            self.open()
        result, result_holding = rounds.result()
        complete, partial = rounds.group_counts()
        self.iteration = view.iteration
        return Averaged(result, result_holding, complete, partial, len(view.members))

    def agree(self, averaged: Averaged) -> None:
        """The result is the agreed state now: whoever is behind can have it from here."""
        self._states.agree(State(self.iteration, averaged.vector, averaged.holding.maxima))

    def last_deadline(self) -> float | None:
        """D_G of the iteration that ran last."""
        return None if self.rounds is None else self.rounds.aggregation.last_deadline()

    # what comes in between

    def view_may_have_moved(self) -> None:
        """News of members: rounds in which nothing was exchanged yet begin again with the view as it is now."""
        rounds = self.rounds
        if rounds is None or rounds.aggregation.home_round() > 1:
            return
        if self._numbers_left_out(self.iteration + 1) and rounds.has_exchanged_nothing():
            # The others of this part heard of the merge in time and left this iteration out.
            rounds.move()
            return
        view = self._roster.view(rounds.aggregation.iteration)
        if view.digest != rounds.aggregation.view.digest and rounds.has_exchanged_nothing():
            if rounds.aggregation.home_round() == 0 and self.me in view.cell_of:
                self._aggregator.drop_current()
                self.open()
            else:
                rounds.move()
                self._aggregator.drop_current()

    def behind(self, swarm_iteration: int) -> None:
        """Another peer says that the swarm is in this iteration already."""
        running = self.iteration + 1
        if self.steps(running, swarm_iteration) <= 0:
            return
        if self._numbers_left_out(running) and self.rounds is not None:
            self.rounds.move()
        elif not self._is_other_part(swarm_iteration):
            self._needed = max(self._needed, swarm_iteration - 1)
            if self.rounds is not None:
                self.rounds.move()

    # merging with another part of the swarm

    def steps(self, running: int, iteration: int) -> int:
        """How many iterations there are from the one that runs to another."""
        merge = self._roster.merge_ahead()
        return iteration - running if merge is None else merge.steps(running, iteration, self._roster.side())

    def leap(self) -> None:
        """Leaves out the numbers that a merge asks this part of the swarm to leave out, if it is their turn."""
        following = self._following(self.iteration)
        if self._needed > self.iteration or following == self.iteration + 1:
            return
        for skipped in range(self.iteration + 1, following):
            self._tell(IterationSkipped(iteration=skipped, reason="merges with a part of the swarm that is ahead"))
        self.iteration = Iteration(following - 1)
        agreed = self._states.agreed
        if agreed is not None:
            self._states.agree(State(self.iteration, agreed.vector, agreed.maxima))

    def _following(self, finished: int) -> int:
        merge = self._roster.merge_ahead()
        return finished + 1 if merge is None else merge.following(finished, self._roster.side())

    def _numbers_left_out(self, running: int) -> bool:
        """Whether this iteration is one of those that this part of the swarm leaves out."""
        return self._following(running - 1) > running

    def _is_other_part(self, swarm_iteration: int) -> bool:
        """The part that is ahead may come to the first common iteration before this one: that is not being behind."""
        merge = self._roster.merge_ahead()
        return merge is not None and swarm_iteration == merge.first

    # catching up

    def is_current(self) -> bool:
        """Whether this peer is in the next iteration's view and holds the state before it."""
        return self.iteration >= self._needed and self._roster.is_member(Iteration(self.iteration + 1))

    def must_hold(self, iteration: int) -> None:
        """The state after this iteration is what this peer has to start from."""
        self._needed = max(self._needed, iteration)

    async def catch_up(self, first: PeerId | None = None) -> State | None:
        """Downloads the state that lets this peer go on, from `first` or any other member; None where nobody has it."""
        wanted = max(self._needed, self._first_membership() - 1)
        sources = [peer for peer in self._sources() if peer != first]
        patience = max(STATE_PATIENCE_S, 4 * patience_s(self._update_s))
        for source in ([first] if first is not None else []) + sources[:4]:
            state = await self._states.fetch(source, at_least=wanted, deadline=self._clock.now() + patience)
            if state is not None:
                return state
        return None

    def took(self, state: State) -> None:
        """The downloaded state is this peer's own now."""
        for skipped in range(self.iteration + 1, state.iteration + 1):
            self._tell(IterationSkipped(iteration=skipped, reason="behind the swarm: took its state"))
        self.iteration = Iteration(state.iteration)
        self._needed = min(self._needed, state.iteration)
        self._states.agree(state)

    def skip(self) -> None:
        """Nobody has a state to give: the next iteration passes without this peer."""
        self.iteration = Iteration(self.iteration + 1)
        self._needed = min(self._needed, self.iteration)
        self._roster.iteration = self.iteration
        self._tell(IterationSkipped(iteration=self.iteration, reason="nobody could give the state"))

    def _first_membership(self) -> int:
        """The first iteration to come in which this peer is a member."""
        following = self.iteration + 1
        ahead = range(following, following + 1024)
        own = self._roster.own_status()
        if own is not None and own.kind == "joined":
            return max(following, int(own.effective))
        return next((t for t in ahead if self._roster.is_member(Iteration(t))), following)

    def _sources(self) -> list[PeerId]:
        gone = set(self._roster.gone())
        members = self._roster.view(Iteration(max(self.iteration + 1, self._needed))).members
        return [peer for peer in members if peer != self.me and peer not in gone]

    def _tell_view(self, view: View) -> None:
        self._tell(
            ViewChanged(
                iteration=view.iteration,
                digest=view.digest,
                peers=len(view.members),
                grid=view.grid.shape,
                cell=view.cell_of.get(self.me),
            )
        )
