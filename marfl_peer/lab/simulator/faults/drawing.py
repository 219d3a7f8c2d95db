"""A whole scenario from nothing but a seed: swarm, climate and faults of every kind, at any moment of the run.

At least two founders are there at the end, and at most one peer is hostile. Many seeds get some faults more, aimed at
steps that are seldom come to; a random stream of its own says which and what. The seeds from `RARE_FROM` on are there
for nothing else.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

from marfl_peer.config import ONE_GROUP
from marfl_peer.lab.simulator.faults.aiming import RARE_STORIES, STORIES, aimed
from marfl_peer.lab.simulator.faults.plan import (
    Clock,
    Crash,
    Cut,
    CutDirection,
    Disk,
    Fault,
    Hold,
    Hostile,
    Hosts,
    Leave,
    Lie,
    Newcomers,
    Part,
    Pause,
    Plan,
    Role,
    Share,
    Slow,
    Weather,
    Who,
)
from marfl_peer.lab.simulator.faults.triggers import ANY, FACTS, MESSAGES, At, Direction, Edge, OnFact, OnFrame, Trigger
from marfl_peer.lab.simulator.network import LAN, WAN, Climate
from marfl_peer.lab.simulator.scenario import BOOTSTRAP_PEERS, Scenario

T = TypeVar("T")

LOSSY = dataclasses.replace(WAN, loss=0.03, duplication=0.01)
CLIMATES: Sequence[tuple[Climate, int]] = ((LAN, 5), (WAN, 3), (LOSSY, 2))
SIZES: Sequence[tuple[tuple[int, int], int]] = (((5, 8), 74), ((9, 13), 20), ((14, 24), 5), ((25, 40), 1))
STEPS: Sequence[tuple[str, int]] = tuple(
    (step, 6 if step in ("Here", "Propose", "Ready", "Part.scatter", "Part.gather", "ChunkDigest", "Done") else 1)
    for step in (*MESSAGES, ANY)
    if step not in ("Heartbeat", "Absent", "Relayed", "StatusRequest", "StatusReply", "Refusal")
)
MOMENTS = tuple(fact for fact in FACTS if not fact.startswith(("Dht", "Datagram", "Peer")))
START_TURNS, TURNS = 60, 12
"""About how many times the start, and an iteration, wait for the network."""
MAX_FAULTS = 6
SURVIVORS = 2
AIMED = 0.5
"""So many of all seeds."""
RARE_FROM = 1_000_000
"""Seeds from here on are all aimed, at the steps that the others come to least."""


def draw(seed: int, *, aims: bool = True, **given: Any) -> Scenario:
    """The scenario of that seed: always the same. Fields of it may be given; the faults are drawn to suit them.

    Without `aims` it has no faults that are aimed at rare steps.
    """
    rng = random.Random(f"scenario {seed}")
    scenario = Scenario(
        seed=seed,
        peers=rng.randint(*_weighted(rng, SIZES)),
        group_size=rng.randint(2, 5),
        iterations=rng.randint(3, 6),
        batch_s=rng.choice((0.05, 0.2, 0.6)),
        exchange=rng.choice(("butterfly", "butterfly", "all-gather")),
        climate=_weighted(rng, CLIMATES),
        drift=rng.choice((0.0, 1e-5, 1e-4, 1e-3)),
    )
    scenario = dataclasses.replace(scenario, **given)
    if scenario.aggregation in ONE_GROUP and "exchange" not in given:
        scenario = dataclasses.replace(scenario, exchange="butterfly")  # how bytes flow is the scheme's to say
    drawer = _Drawer(rng, scenario)
    plan = drawer.plan(rng.randint(0, MAX_FAULTS))
    rng = random.Random(f"aimed {seed}")
    is_rare = seed >= RARE_FROM
    if aims and (is_rare or rng.random() < AIMED):
        stories = RARE_STORIES if is_rare else STORIES
        plan = Plan(faults=(*plan.faults, *aimed(rng, scenario, may_leave=drawer.may_go, stories=stories)))
    return dataclasses.replace(scenario, plan=plan)


def _weighted(rng: random.Random, choices: Sequence[tuple[T, int]]) -> T:
    return rng.choices([choice for choice, _ in choices], weights=[weight for _, weight in choices])[0]


class _Drawer:
    """Draws faults for one scenario; knows how many peers it may still take away for good."""

    def __init__(self, rng: random.Random, scenario: Scenario) -> None:
        self._random = rng
        self._peers, self._iterations = scenario.peers, scenario.iterations
        batches = scenario.local_steps + 1  # the last one for what is evaluated
        turn_s = scenario.climate.latency_s + scenario.climate.jitter_s
        self._start_s = START_TURNS * turn_s
        self._life_s = self._start_s + scenario.iterations * (TURNS * turn_s + batches * scenario.batch_s)
        self.may_go = scenario.peers - SURVIVORS
        self._is_honest = True
        self._kinds: Sequence[tuple[Callable[[], Fault], int]] = (
            (self._crash, 10),
            (self._pause, 3),
            (self._slow, 2),
            (self._clock, 2),
            (self._island, 3),
            (self._partition, 3),
            (self._storm, 3),
            (self._leave, 2),
            (self._newcomers, 3),
            (self._mass_departure, 1),
            (self._no_bootstrap, 1),
            (self._hostile, 3),
            (self._hold, 3),
        )

    def plan(self, count: int) -> Plan:
        return Plan(faults=tuple(_weighted(self._random, self._kinds)() for _ in range(count)))

    # faults

    def _crash(self) -> Fault:
        return self._crash_of(self._one(), self._trigger(), 1)

    def _crash_of(self, who: Who, when: Trigger, count: int) -> Fault:
        disk: Disk = _weighted(self._random, (("kept", 6), ("damaged", 2), ("wiped", 1)))
        return Fault(
            what=Crash(
                silently=self._random.random() < 0.4,
                restart_after_s=self._restart_after_s(count),
                disk=disk,
            ),
            who=who,
            when=when,
        )

    def _pause(self) -> Fault:
        return Fault(what=Pause(for_s=self._duration_s(0.1, 20.0)), who=self._one(), when=self._trigger())

    def _slow(self) -> Fault:
        what = Slow(factor=self._random.choice((2.0, 5.0, 20.0)), for_s=self._duration_s(0.5, 20.0))
        return Fault(what=what, who=self._one(), when=self._at())

    def _clock(self) -> Fault:
        what = Clock(drift=self._random.uniform(-5e-3, 5e-3), step_s=self._random.choice((0.0, -3.0, 3.0)))
        return Fault(what=what, who=self._one(), when=self._at())

    def _island(self) -> Fault:
        direction = self._random.choice(get_args(CutDirection))
        return Fault(
            what=Cut(for_s=self._duration_s(0.2, 20.0), direction=direction),
            who=self._one(),
            when=self._trigger(),
        )

    def _partition(self) -> Fault:
        direction = self._random.choice(get_args(CutDirection))
        some, others = self._some(), self._some()
        apart = tuple(index for index in others.indices if index not in some.indices)
        what = Cut(
            for_s=self._duration_s(0.2, 20.0),
            others=Hosts(apart) if apart and self._random.random() < 0.5 else None,
            direction=direction,
        )
        return Fault(what=what, who=some, when=self._at())

    def _storm(self) -> Fault:
        what = self._random.choice(
            (
                Weather(for_s=self._duration_s(0.5, 10.0), loss=self._random.uniform(0.05, 0.3)),
                Weather(for_s=self._duration_s(0.5, 10.0), latency_s=self._random.uniform(0.1, 0.5), jitter_s=0.2),
                Weather(for_s=self._duration_s(0.5, 10.0), bytes_per_s=self._random.uniform(2e4, 2e5)),
                Weather(for_s=self._duration_s(0.5, 10.0), duplication=0.3, jitter_s=0.1),
            )
        )
        return Fault(what=what, when=self._at())

    def _leave(self) -> Fault:
        if self.may_go < 1:
            return self._pause()
        self.may_go -= 1
        return Fault(what=Leave(), who=self._one(), when=self._trigger())

    def _newcomers(self) -> Fault:
        is_crowd = self._peers <= 9 and self._random.random() < 0.25
        count = self._peers if is_crowd else self._random.randint(1, 3)
        return Fault(what=Newcomers(count=count), when=self._at())

    def _mass_departure(self) -> Fault:
        count = (self._peers + 1) // 2
        share = Share(0.5)
        if self._random.random() < 0.5 and count <= self.may_go:
            self.may_go -= count
            return Fault(what=Leave(), who=share, when=self._at())
        return self._crash_of(share, self._at(), count)

    def _no_bootstrap(self) -> Fault:
        return self._crash_of(Hosts(tuple(range(BOOTSTRAP_PEERS))), self._at(), BOOTSTRAP_PEERS)

    def _hostile(self) -> Fault:
        if not self._is_honest:
            return self._hold()
        self._is_honest = False
        lie: Lie = self._random.choice(get_args(Lie))
        what = Hostile(lie=lie, for_s=self._duration_s(0.3, 10.0), share=self._random.choice((0.05, 0.3, 1.0)))
        return Fault(what=what, who=self._one(), when=self._at())

    def _hold(self) -> Fault:
        return Fault(what=Hold(for_s=self._duration_s(0.05, 8.0)), who=self._one(), when=self._on_frame("sends"))

    # whom, when, how long

    def _restart_after_s(self, count: int) -> float | None:
        """None, where so many may go for good and chance will have it."""
        if count <= self.may_go and self._random.random() < 0.4:
            self.may_go -= count
            return None
        return self._duration_s(0.05, max(1.0, self._life_s))

    def _one(self) -> Who:
        if self._random.random() < 0.5:
            return Hosts((self._random.randrange(self._peers),))
        return Role(self._random.choice(get_args(Part)))

    def _some(self) -> Hosts:
        count = self._random.randint(1, max(1, self._peers - 1))
        return Hosts(tuple(sorted(self._random.sample(range(self._peers), count))))

    def _trigger(self) -> Trigger:
        kind = self._random.random()
        if kind < 0.25:
            return self._at()
        if kind < 0.45:
            return self._on_fact()
        return self._on_frame(self._random.choice(get_args(Direction)))

    def _at(self) -> At:
        """More often than not in the middle; the start and the end get their share, since they are short."""
        part = self._random.random()
        if part < 0.15:
            return At(time_s=self._random.uniform(0.0, self._start_s))
        if part < 0.85:
            return At(time_s=self._random.uniform(0.0, self._life_s))
        return At(time_s=self._random.uniform(0.8, 1.2) * self._life_s)

    def _on_fact(self) -> OnFact:
        return OnFact(fact=self._random.choice(MOMENTS), iteration=self._iteration(), nth=self._nth())

    def _on_frame(self, direction: Direction) -> OnFrame:
        message = _weighted(self._random, STEPS)
        edge: Edge = self._random.choice(get_args(Edge))
        if message == ANY and self._random.random() < 0.5:
            nth = self._random.randint(1, 40 * self._iterations)
            return OnFrame(direction=direction, message=ANY, nth=nth, edge=edge)
        return OnFrame(direction=direction, message=message, iteration=self._iteration(), nth=self._nth(), edge=edge)

    def _iteration(self) -> int | None:
        iteration = self._random.randint(0, self._iterations)
        return iteration or None

    def _nth(self) -> int:
        return self._random.choice((1, 1, 1, 2, 3, 4))

    def _duration_s(self, shortest: float, longest: float) -> float:
        return round(math.exp(self._random.uniform(math.log(shortest), math.log(longest))), 3)
