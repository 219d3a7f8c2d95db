"""Faults at steps that a run seldom comes to: one that provokes the step, some that befall whoever gets there first.

Most steps of fetching, catching up and joining follow only upon another fault; what is drawn at random strikes there a
few times in thousands of seeds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from marfl_peer.lab.simulator.faults.plan import (
    ANYONE,
    Action,
    Crash,
    Cut,
    Fault,
    Hold,
    Hosts,
    Leave,
    Newcomers,
    Pause,
    Role,
)
from marfl_peer.lab.simulator.faults.triggers import FACTS, At, Direction, Edge, OnFact, OnFrame, Trigger
from marfl_peer.lab.simulator.scenario import Scenario

KINDS: Mapping[str, int] = {"crash": 4, "pause": 4, "cut": 5, "leave": 5, "hold": 5}
"""Where nobody may leave any more, somebody pauses: leaving is drawn the more often."""

Provoke = Callable[[random.Random, Scenario], tuple[Fault, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What brings a swarm to some steps. `steps`: how often each is aimed at; of a message in every iteration
    (`is_common`), any may be hit, and of all others the first."""

    weight: int
    provoke: Provoke
    steps: Mapping[str, int]
    is_common: bool = False
    members: int = 2
    """How many a line must have for it."""
    rounds: int = 1
    """How many a grid must have."""
    exchange: str | None = None
    """None: any."""
    aims: int = 2
    """How many faults wait for the steps."""

    def fits(self, scenario: Scenario) -> bool:
        """Whether the swarm of the scenario can come to these steps."""
        return (
            scenario.group_size >= self.members
            and (self.rounds == 1 or scenario.peers > scenario.group_size)
            and self.exchange in (None, scenario.exchange)
        )


# what provokes


def _nothing(rng: random.Random, scenario: Scenario) -> tuple[Fault, ...]:
    return ()


def _late_result(rng: random.Random, scenario: Scenario) -> tuple[Fault, ...]:
    """The others are through before somebody is, who fetches what they have."""
    if rng.random() < 0.5:
        return _half_out_of_sight(rng, scenario)
    what = Hold(for_s=_duration_s(rng, 1.0, 8.0))
    return (Fault(what=what, when=_sent(rng, scenario, "Part.scatter", edge="before")),)


def _half_out_of_sight(rng: random.Random, scenario: Scenario) -> tuple[Fault, ...]:
    """A member and half of the others do not see each other: some have its result and some do not."""
    others = Hosts(tuple(sorted(rng.sample(range(scenario.peers), max(1, scenario.peers // 2)))))
    what = Cut(for_s=_duration_s(rng, 2.0, 8.0), others=others)
    return (Fault(what=what, who=Role("member"), when=_sent(rng, scenario, "Done", edge="before")),)


def _member_out_of_sight(rng: random.Random, scenario: Scenario) -> tuple[Fault, ...]:
    """A member's exchange breaks off, and when it is back the others have gone on."""
    what = Cut(for_s=_duration_s(rng, 2.5, 8.0))
    return (Fault(what=what, who=Role("member"), when=_sent(rng, scenario, "Part.scatter")),)


def _member_and_leader_out_of_sight(rng: random.Random, scenario: Scenario) -> tuple[Fault, ...]:
    """The next leader does not know who is through already, and who plays which cell."""
    (cut,) = _member_out_of_sight(rng, scenario)
    assert isinstance(cut.when, OnFrame)
    what = Crash(restart_after_s=_duration_s(rng, 2.0, 5.0))
    when = OnFrame(direction="receives", message="Part.scatter", iteration=cut.when.iteration)
    return (cut, Fault(what=what, who=Role("leader"), when=when))


def _out_of_sight(rng: random.Random, scenario: Scenario) -> tuple[Fault, ...]:
    return rng.choice((_member_out_of_sight, _member_and_leader_out_of_sight))(rng, scenario)


def _between_rounds(rng: random.Random, scenario: Scenario) -> tuple[Fault, ...]:
    """Somebody loses power after a round: its cell is taken over, and it comes back to its state."""
    what = Crash(silently=rng.random() < 0.7, restart_after_s=_duration_s(rng, 0.3, 4.0))
    when = OnFact(fact="GroupFinished", iteration=_iteration(rng, scenario))
    return (Fault(what=what, when=when),)


def _arrivals(rng: random.Random, scenario: Scenario) -> tuple[Fault, ...]:
    """Somebody who has no state."""
    if rng.random() < 0.5:
        life_s = scenario.iterations * (scenario.local_steps + 1) * scenario.batch_s
        when = At(time_s=rng.uniform(0.2, 0.6) * life_s)
        return (Fault(what=Newcomers(count=rng.randint(1, 2)), when=when),)
    what = Crash(silently=True, restart_after_s=_duration_s(rng, 0.1, 2.0), disk="wiped")
    return (Fault(what=what, when=_sent(rng, scenario, "Here")),)


STORIES: Sequence[Story] = (
    Story(
        weight=55,
        provoke=_late_result,
        steps={"Take": 1, "Fetch": 1, "ResultOffer": 1, "ResultPart": 1},
        members=3,
    ),
    Story(weight=20, provoke=_half_out_of_sight, steps={"Nack": 1}, members=3, aims=3),
    Story(weight=45, provoke=_out_of_sight, steps={"Behind": 2, "CannotPlay": 3}, members=3, rounds=2, aims=3),
    Story(weight=300, provoke=_out_of_sight, steps={"Have": 1}, members=3, exchange="all-gather", aims=4),
    Story(weight=30, provoke=_between_rounds, steps={"Play": 4, "CellTakenOver": 3, "StateResumed": 5}),
    Story(
        weight=105,
        provoke=_arrivals,
        steps={
            "JoinRequest": 1,
            "JoinReply": 1,
            "Whereabouts": 1,
            "StateRequest": 1,
            "StateOffer": 1,
            "StatePull": 1,
            "StatePart": 1,
            "StateTaken": 1,
            "StateFetched": 1,
        },
    ),
    Story(weight=35, provoke=_nothing, steps={"StartProposal": 1, "StartAnswer": 1, "Start": 1, "Events": 1}),
    Story(
        weight=90,
        provoke=_nothing,
        steps={
            "Here": 1,
            "Propose": 1,
            "Ready": 1,
            "Done": 1,
            "Part.scatter": 1,
            "Part.gather": 2,
            "ChunkDigest": 2,
            "ViewChanged": 1,
            "IterationStarted": 1,
            "LocalUpdateFinished": 1,
            "GroupAgreed": 1,
            "GroupFinished": 1,
            "Evaluated": 1,
            "IterationFinished": 1,
            "StateSaved": 1,
        },
        is_common=True,
    ),
)

RARE_STORIES: Sequence[Story] = (
    Story(weight=25, provoke=_half_out_of_sight, steps={"Nack": 1}, members=3, aims=4),
    Story(
        weight=45,
        provoke=_late_result,
        steps={"Take": 2, "Fetch": 2, "ResultOffer": 2, "ResultPart": 3},
        members=3,
        aims=3,
    ),
    Story(weight=20, provoke=_nothing, steps={"StartProposal": 2, "Start": 1, "ViewChanged": 1}, aims=3),
    Story(weight=10, provoke=_arrivals, steps={"StateRequest": 1, "StatePart": 1, "ViewChanged": 2}, aims=3),
)
"""Those of the steps that are hit least, for seeds that are there to hit them."""


def aimed(
    rng: random.Random, scenario: Scenario, *, may_leave: int, stories: Sequence[Story] = STORIES
) -> tuple[Fault, ...]:
    """The faults of one story. All who crash come back, and no more than `may_leave` leave."""
    fitting = [story for story in stories if story.fits(scenario)]
    story = rng.choices(fitting, weights=[story.weight for story in fitting])[0]
    faults = [*story.provoke(rng, scenario)]
    for _ in range(story.aims):
        what, when = _aim(rng, scenario, story, may_leave=may_leave)
        may_leave -= isinstance(what, Leave)
        faults.append(Fault(what=what, who=ANYONE, when=when))
    return tuple(faults)


def _aim(rng: random.Random, scenario: Scenario, story: Story, *, may_leave: int) -> tuple[Action, Trigger]:
    steps = {
        step: weight
        for step, weight in story.steps.items()
        if scenario.exchange == "butterfly" or step not in ("Part.gather", "ChunkDigest")
    }
    step = _weighted(rng, steps)
    kinds = {kind: weight for kind, weight in KINDS.items() if kind != "hold" or step not in FACTS}
    what = _fault(rng, _weighted(rng, kinds), may_leave=may_leave)
    iteration = _iteration(rng, scenario) if story.is_common else None
    if step in FACTS:
        return what, OnFact(fact=step, iteration=iteration)
    direction: Direction = "sends" if isinstance(what, Hold) else rng.choice(get_args(Direction))
    edge: Edge = rng.choice(get_args(Edge))
    nth = rng.choice((1, 1, 2)) if story.is_common else 1
    return what, OnFrame(direction=direction, message=step, iteration=iteration, nth=nth, edge=edge)


def _fault(rng: random.Random, kind: str, *, may_leave: int) -> Action:
    match kind:
        case "crash":
            return Crash(silently=rng.random() < 0.4, restart_after_s=_duration_s(rng, 0.1, 5.0))
        case "cut":
            return Cut(for_s=_duration_s(rng, 0.2, 8.0))
        case "hold":
            return Hold(for_s=_duration_s(rng, 0.1, 8.0))
        case "leave" if may_leave > 0:
            return Leave()
        case _:
            return Pause(for_s=_duration_s(rng, 0.2, 8.0))


def _sent(rng: random.Random, scenario: Scenario, message: str, *, edge: Edge = "after") -> OnFrame:
    return OnFrame(direction="sends", message=message, iteration=_iteration(rng, scenario), edge=edge)


def _iteration(rng: random.Random, scenario: Scenario) -> int:
    """Not the last one, where there are more: what follows upon a fault has to be seen."""
    return rng.randint(1, max(1, scenario.iterations - 1))


def _duration_s(rng: random.Random, shortest: float, longest: float) -> float:
    return round(rng.uniform(shortest, longest), 3)


def _weighted(rng: random.Random, weights: Mapping[str, int]) -> str:
    return rng.choices([*weights], weights=[*weights.values()])[0]
