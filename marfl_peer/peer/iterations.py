"""The way of the data through one iteration, as in the paper: local update -> for every round: group key -> group ->
exchange -> average -> next axis. And the way back for a peer that fell behind.

MAR-FL (arXiv 2512.05234) Algorithm 1; the grid's rules are in `protocol/`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from marfl_peer.averaging.finite import is_finite
from marfl_peer.clock import Clock
from marfl_peer.facts import IterationSkipped, IterationStarted, Sink, ViewChanged
from marfl_peer.ids import Iteration, PeerId, Round
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.catchup import CatchUp
from marfl_peer.peer.placements import Placement
from marfl_peer.peer.roster import Roster
from marfl_peer.peer.rounds import BaseState, Rounds
from marfl_peer.peer.states import State, States
from marfl_peer.protocol.deadlines import patience_s
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.survey import Wish
from marfl_peer.protocol.view import View

STATE_PATIENCE_S = 60.0
LEFT_OUT = "merges with a part of the swarm that is ahead"
"""Why an iteration is skipped whose number a merge leaves out."""


@dataclass(frozen=True, slots=True, eq=False)
class Averaged:
    """What every member of the view holds after G rounds. `vector` [n] is the peer's own until it is given back."""

    vector: Tensor
    holding: Holding
    groups_complete: int
    groups_partial: int
    peers: int
    group: tuple[PeerId, ...] = ()
    """The members of the last round's group: each of them holds this."""


class Iterations:
    """`iteration` is the last one finished: `states.agreed` is the state after it. `last` is the last of the run.
    `is_all_exact`: whether all values travel as they are, so that nothing is encoded against anything."""

    def __init__(
        self,
        *,
        me: PeerId,
        roster: Roster,
        placement: Placement,
        aggregator: Aggregator,
        states: States,
        catching_up: CatchUp,
        last: int,
        is_all_exact: bool,
        clock: Clock,
        tell: Sink,
    ) -> None:
        self.me, self.last = me, last
        self._is_all_exact = is_all_exact
        self.iteration = Iteration(0)
        self.rounds: Rounds | None = None
        self._roster, self._placement, self._aggregator, self.states = roster, placement, aggregator, states
        self._catching_up = catching_up
        self._clock, self._tell = clock, tell
        self._needed = 0
        self.is_stale = False
        """Whether this peer's state is one that nobody could bring up to date."""
        self._update_s: list[float] = []
        self._view: View | None = None
        self._told_digest = ""

    @property
    def is_exact(self) -> bool:
        """Whether all members hold the same after an iteration in which nobody failed."""
        return self._placement.is_exact

    # one iteration

    def open(self) -> View:
        """The view of the next iteration becomes current: grid, cells, and the groups' keys that changed."""
        self._view = view = self._roster.view(Iteration(self.iteration + 1))
        self._roster.iteration = view.iteration
        self.rounds = self._placement.begin(view, update_times_s=self._update_s, gone=self._roster.gone())
        if view.digest != self._told_digest:
            self._told_digest = view.digest
            self._tell_view(view)
        self._tell(IterationStarted(iteration=view.iteration))
        return view

    def brought(self, vector: Tensor, holding: Holding) -> Holding:
        """What counts of an update, `vector` [n], that this peer brings to the open iteration.

        What has weight 0 is replaced by the agreed state: should nobody's update count, all go on from there.
        """
        if self.is_stale or not is_finite(vector):
            # Stale is what nobody could bring up to date: it does not count, and the result takes its place. Where all
            # are stale the zeros keep what they have, and everybody goes on from there.
            holding = Holding(weight=0, sums=holding.sums, maxima=holding.maxima)
        if not holding.weight:
            vector.copy_(self.states.agreed.vector) if self.states.agreed is not None else vector.zero_()
        return holding

    async def average(self, vector: Tensor, holding: Holding, *, update_s: float) -> Averaged | None:
        """All rounds of the open iteration, with what is `brought`. None where the swarm went on without this peer:
        catch up.

        `vector` [n] belongs to the rounds from now on, and is not changed by them.
        """
        assert self.rounds is not None
        if update_s > 0:
            self._update_s = [update_s]
        base = await self._base()
        while True:
            rounds = self.rounds
            view = self._view
            assert view is not None
            rounds.arrive(vector, self._placement.brought(holding), update_s=update_s, base=base)
            for round in range(1, rounds.aggregation.rounds + 1):
                # The round's group key is where its members find each other;
                self._placement.meet(view, Round(round))
                # they agree on a group, exchange and average; then the key rotates to the next round's.
                await rounds.round(round)
            if self._needed > self.iteration and rounds.aggregation.home_round() <= rounds.aggregation.rounds:
                return None
            if not rounds.moved or rounds.aggregation.home_round() > rounds.aggregation.rounds > 0:
                break  # through, if only alone: what was exchanged is not exchanged again
            if self._numbers_left_out(self.iteration + 1):
                # What was exchanged in this one counts nowhere: the update goes into the next one as it was.
                vector = vector.clone()
                self._aggregator.drop_current()
                self.leap()
            if not self._roster.is_member(Iteration(self.iteration + 1)):
                return None
            self.open()
        result, result_holding = rounds.result()
        result_holding = self._placement.told(result_holding)
        complete, partial = rounds.group_counts()
        self.iteration = view.iteration
        group = rounds.aggregation.last_group()
        return Averaged(result, result_holding, complete, partial, len(view.members), group)

    async def _base(self) -> BaseState | None:
        """What values are encoded against, where any are."""
        return None if self._is_all_exact else await self.began_from()

    async def began_from(self) -> BaseState | None:
        """What the members of this peer's groups hold, too, unless something failed."""
        agreed = self.states.agreed
        if self.is_stale or agreed is None or agreed.iteration != self.iteration:
            return None
        return BaseState(await self.states.digest(), agreed.vector)

    def gone(self) -> Collection[PeerId]:
        """Members of views that are not there now, as far as this peer knows."""
        return self._roster.gone()

    @property
    def view(self) -> View | None:
        """That of the open iteration, as of now."""
        return self._view

    def members(self) -> tuple[PeerId, ...]:
        """Those of the open iteration, as of now."""
        return () if self._view is None else self._view.members

    def agree(self, averaged: Averaged) -> None:
        """The result is the agreed state now: whoever is behind can have it from here."""
        self.is_stale = False
        self.states.agree(State(self.iteration, averaged.vector, averaged.holding.maxima, averaged.group))
        if not self._is_all_exact:
            self.states.prepare_digest()  # the next iteration's ballots name it

    def holds_result(self) -> bool:
        """Whether this peer's state is the agreed one after its last iteration."""
        agreed = self.states.agreed
        return agreed is not None and agreed.iteration == self.iteration > 0

    def last_deadline(self) -> float | None:
        """D_G of the iteration that ran last."""
        return None if self.rounds is None else self.rounds.aggregation.last_deadline()

    # what comes in between

    def view_may_have_moved(self) -> None:
        """News of members: rounds in which nothing was exchanged yet begin again with the view as it is now."""
        rounds = self.rounds
        if not self._placement.follows_views or rounds is None or rounds.aggregation.home_round() > 1:
            return
        if self._numbers_left_out(self.iteration + 1) and rounds.has_exchanged_nothing():
            # The others of this part heard of the merge in time and left this iteration out.
            rounds.move()
            return
        view = self._roster.view(rounds.aggregation.iteration)
        if view.digest != rounds.aggregation.view_digest and rounds.has_exchanged_nothing():
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
        finished, following = self.iteration, self._following(self.iteration)
        if self._needed > finished or following == finished + 1:
            return
        for skipped in range(finished + 1, following):
            self._tell(IterationSkipped(iteration=skipped, reason=LEFT_OUT))
        self.iteration = Iteration(following - 1)
        agreed = self.states.agreed
        if agreed is not None and agreed.iteration == finished:  # a stale one is nobody's state of that iteration
            self.states.agree(replace(agreed, iteration=self.iteration))

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
        self._needed = max(self._needed, min(iteration, self.last))

    def hold(self, state: State) -> None:
        """What this peer brings along: the initial state, or that of its disk."""
        self.iteration = Iteration(state.iteration)
        self.states.agree(state)

    async def catch_up(self, first: Sequence[PeerId] = (), digest: str = "") -> State | None:
        """Gets the state that lets this peer go on, from `first` and other members; None where nobody has it.

        `digest`: that of the state, where it is known.
        """
        wanted = min(max(self._needed, self._first_membership() - 1), self.last)
        if wanted > self.iteration:
            self._aggregator.leave_out(wanted)
        gone = set(self._roster.gone())
        wish = Wish(
            at_least=wanted,
            last=self.last,
            sources=list(dict.fromkeys([*first, *self._sources(gone)])),
            digest=digest,
            counts=lambda peer: peer != self.me and self._roster.is_there(peer),
        )
        patience = max(STATE_PATIENCE_S, 4 * patience_s(self._update_s))
        return await self._catching_up.take(wish, held=self.states.agreed, deadline=self._clock.now() + patience)

    def took(self, state: State) -> None:
        """The downloaded state is this peer's own now."""
        for skipped in range(self.iteration + 1, state.iteration + 1):
            self._tell(IterationSkipped(iteration=skipped, reason="behind the swarm: took its state"))
        if self.rounds is not None and self.rounds.were_left:
            self._aggregator.drop_current()  # nobody waits in what the swarm has left
        self.iteration = Iteration(state.iteration)
        self._needed = min(self._needed, state.iteration)
        self.is_stale = False
        if self._roster.view(Iteration(state.iteration + 1)).digest == self._told_digest:
            self._aggregator.missed(self.iteration)
        self.states.agree(state)

    def skip(self) -> None:
        """Nobody has a state to give: the next iteration passes without this peer, and so do all before it joined."""
        own = self._roster.own_status()
        before = 0 if own is None or own.kind != "joined" else min(own.effective - 1, self.last)
        passed = range(self.iteration + 1, max(self.iteration + 1, before) + 1)
        self.iteration = Iteration(passed[-1])
        self._needed = min(self._needed, self.iteration)
        self._roster.iteration = self.iteration
        self.is_stale = True
        for skipped in passed:
            self._tell(IterationSkipped(iteration=skipped, reason="nobody could give the state"))

    def _first_membership(self) -> int:
        """The first iteration to come in which this peer is a member."""
        following = self.iteration + 1
        own = self._roster.own_status()
        is_coming = own is not None and own.kind == "joined"
        # Until it counts anew, one that denied its loss may still count as the one that was not lost yet.
        known = max(following, int(own.effective)) if own is not None and is_coming else following + 1024
        otherwise = known if is_coming else following
        return next((t for t in range(following, known) if self._roster.is_member(Iteration(t))), otherwise)

    def _sources(self, gone: set[PeerId]) -> list[PeerId]:
        """The members, those of one line of the last round first: they agreed with each other."""
        view = self._roster.view(Iteration(max(self.iteration + 1, self._needed)))
        # One in a new life is on its way in, too, and has nothing to give.
        out = {self.me, *gone, *(peer for peer in view.members if self._roster.is_reborn(peer, view))}
        others = [peer for peer in view.members if peer not in out]
        if not others or not view.grid.rounds:
            return others
        # A stranger takes some line, but not all strangers the same.
        near = self.me if self.me in view.cell_of else others[int(self.me, 16) % len(others)]
        cells = view.grid.line(view.cell_of[near], Round(view.grid.rounds))
        line = [peer for cell in cells if (peer := view.peer_at[cell]) is not None and peer in others]
        return list(dict.fromkeys([*line, *others]))

    def _tell_view(self, view: View) -> None:
        self._tell(
            ViewChanged(
                iteration=view.iteration,
                digest=view.digest,
                peers=len(view.members),
                grid=self._placement.shape(view),
                cell=view.cell_of.get(self.me),
            )
        )
