"""Planted in what goes on between iterations: views, take-over, deadlines, catching up, coming back."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from marfl_peer.lab.simulator.planted.planting import Patch, Planted
from marfl_peer.network.identity import Identity
from marfl_peer.peer import iterations as iterations_module
from marfl_peer.peer import roster
from marfl_peer.peer.groups import Groups
from marfl_peer.peer.iterations import Iterations
from marfl_peer.peer.rounds import Rounds
from marfl_peer.peer.states import States
from marfl_peer.peer.training import Training
from marfl_peer.protocol import timetable, view
from marfl_peer.protocol.grid import Grid
from marfl_peer.protocol.messages import StateRequest
from marfl_peer.protocol.survey import Survey
from marfl_peer.protocol.takeover import TakeOver

EVERY_LIFE = 2**20


def _not_raised(before: Any) -> Any:
    def raised(self: Identity) -> int:
        return self.incarnation if self.incarnation else int(before(self))

    return raised


def _an_iteration_early(before: Any) -> Any:
    return property(lambda self: self.iteration + (view.EFFECT_DELAY if self.iteration == view.FOUNDING else 1))


def _named_by_members_only(before: Any) -> Any:
    def view_of(seating: Any) -> Any:
        whole = before(seating)
        named = hashlib.sha256(repr((seating.grid, whole.members, seating.seats)).encode()).hexdigest()[:40]
        return dataclasses.replace(whole, digest=named)

    return view_of


def _without_incarnation(before: Any) -> Any:
    """Losses of an earlier life count for the present one."""

    def standing(event: Any) -> tuple[int, int]:
        incarnation, rank = before(event)
        return (incarnation if event.kind == "joined" else EVERY_LIFE), rank

    return standing


def _nobody_takes_over(before: Any) -> Any:
    return lambda self, *args: [] if before.__name__ == "left_to_me" else None


def _from_any_line(before: Any) -> Any:
    def state_of(self: TakeOver, cell: Any, round: int) -> Any:
        stands = [walk.stand_at(round) for walk in self._walks.values()]
        return next((stand for stand in stands if stand is not None), None)

    return state_of


def _same_for_all_rounds(before: Any) -> Any:
    return lambda start, round, patience, allowance: before(start, 1, patience, allowance)


def _much_later(before: Any) -> Any:
    return lambda start, round, patience, allowance: before(start, round, patience, allowance) + 40.0


def _whatever_is_there(before: Any) -> Any:
    def asked(self: States, peer: Any, request: Any) -> None:
        before(self, peer, StateRequest(at_least=0))

    return asked


def _however_old(before: Any) -> Any:
    """An offer counts, whatever iteration it is of."""

    def offered(self: Survey, peer: Any, offer: Any) -> None:
        wanted, self._at_least = self._at_least, 0
        before(self, peer, offer)
        self._at_least = wanted

    return offered


def _taken_as_the_newest(before: Any) -> Any:
    """The number of the state that was asked for is believed, not the one that came."""

    def took(self: Iterations, state: Any) -> None:
        wanted = max(state.iteration, self._needed)
        before(self, dataclasses.replace(state, iteration=wanted))

    return took


def _not_adopted(before: Any) -> Any:
    async def catch_up(self: Training, hand: Any, sources: Any = (), digest: Any = "") -> None:
        state = await self._iterations.catch_up(sources, digest)
        if state is None:
            self._iterations.skip()
            return
        self._iterations.took(state)

    return catch_up


def _without_reason(before: Any) -> Any:
    return lambda iteration, reason: before(iteration=iteration, reason="")


def _looked_up_always(before: Any) -> Any:
    def meet(self: Groups, *args: Any) -> Any:
        self.lookups += 1
        return before(self, *args)

    return meet


def _first_axis_again(before: Any) -> Any:
    return lambda self, round: before(self, 1)


def _last_one_dropped(before: Any) -> Any:
    def batches(events: Any, first: Any = ()) -> Any:
        return before(events[:-1] if len(events) > 1 else events, first)

    return batches


def _raising(before: Any) -> Any:
    def ready(self: Rounds, sender: Any, message: Any) -> None:
        if (message.name, message.ballot) not in self._attempts._transfers:
            raise KeyError(message.name)
        before(self, sender, message)

    return ready


def _numbers_skip(before: Any) -> Any:
    def agree(self: Iterations, averaged: Any) -> None:
        before(self, averaged)
        if averaged.groups_partial:
            self.iteration = type(self.iteration)(self.iteration + 1)

    return agree


def _gives_up_early(before: Any) -> Any:
    def is_over(self: Training) -> bool:
        return bool(before(self)) or self._iterations.iteration >= self._settings.iterations - 1

    return is_over


LIVES = (
    Planted(
        name="event an iteration early",
        description="a joining, leaving or loss changes the view of the next iteration already",
        breaks=("views",),
        patches=(Patch(owner=view.MembershipEvent, name="effective", make=_an_iteration_early),),
    ),
    Planted(
        name="digest without incarnations",
        description="two views have one digest though a member is in another life",
        breaks=("views", "I9"),
        patches=(Patch(owner=view, name="_view_of", make=_named_by_members_only),),
    ),
    Planted(
        name="incarnation not raised",
        description="a restarted peer goes by the number of its earlier life",
        breaks=("I9",),
        patches=(Patch(owner=Identity, name="raise_incarnation", make=_not_raised),),
    ),
    Planted(
        name="old incarnation counts",
        description="what is known of an earlier life of a peer counts for the present one",
        breaks=("views",),
        patches=(Patch(owner=view, name="_standing", make=_without_incarnation),),
    ),
    Planted(
        name="take-over dropped",
        description="nobody plays on for a peer that is lost between two rounds",
        breaks=("I6",),
        patches=(
            Patch(owner=TakeOver, name="left_to_me", make=_nobody_takes_over),
            Patch(owner=TakeOver, name="state_of", make=_nobody_takes_over),
        ),
    ),
    Planted(
        name="take-over from any line",
        description="a lost peer's cell is played from a state that it did not have",
        breaks=("I2",),
        patches=(Patch(owner=TakeOver, name="state_of", make=_from_any_line),),
    ),
    Planted(
        name="deadline does not grow",
        description="D_g is D_1 in every round",
        breaks=("I4",),
        patches=(Patch(owner=timetable, name="round_deadline", make=_same_for_all_rounds),),
    ),
    Planted(
        name="waits for too long",
        description="a member waits for a result 40 s longer than D_g",
        breaks=("I4",),
        patches=(Patch(owner=timetable, name="round_deadline", make=_much_later),),
    ),
    Planted(
        name="older state accepted",
        description="who catches up takes the state of an earlier iteration for the one that it needs",
        breaks=("I6", "I5"),
        patches=(
            Patch(owner=States, name="asked", make=_whatever_is_there),
            Patch(owner=Survey, name="offered", make=_however_old),
            Patch(owner=Iterations, name="took", make=_taken_as_the_newest),
        ),
    ),
    Planted(
        name="behind with weight",
        description="a peer that was behind trains on from its own state, with its weight",
        breaks=("I6",),
        patches=(Patch(owner=Training, name="_catch_up", make=_not_adopted),),
    ),
    Planted(
        name="skip without a reason",
        description="an iteration is skipped and nobody is told why",
        breaks=("I5",),
        patches=(Patch(owner=iterations_module, name="IterationSkipped", make=_without_reason),),
    ),
    Planted(
        name="look-up in every iteration",
        description="the DHT is asked though the view is the same",
        breaks=("I7",),
        patches=(Patch(owner=Groups, name="meet", make=_looked_up_always),),
    ),
    Planted(
        name="axes not rotated",
        description="every round averages along the first axis",
        breaks=("I3", "I6", "failure"),
        patches=(Patch(owner=Grid, name="_axis", make=_first_axis_again),),
    ),
    Planted(
        name="last event dropped",
        description="the last membership event of a message is lost",
        breaks=("I5", "I6", "failure", "views"),
        patches=(Patch(owner=roster, name="batches", make=_last_one_dropped),),
    ),
    Planted(
        name="raises on early ready",
        description="a ready that comes before its proposal raises",
        breaks=("failure",),
        patches=(Patch(owner=Rounds, name="ready", make=_raising),),
    ),
    Planted(
        name="number counted twice",
        description="a partial iteration counts as two",
        breaks=("I5",),
        patches=(Patch(owner=Iterations, name="agree", make=_numbers_skip),),
    ),
    Planted(
        name="stops too soon",
        description="a peer calls itself finished an iteration early",
        breaks=("I5",),
        patches=(Patch(owner=Training, name="is_over", make=_gives_up_early),),
    ),
)
