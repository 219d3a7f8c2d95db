"""Makes the faults of a plan happen in a simulation, each when its trigger comes.

Nothing that runs in the simulation knows of it: it sees facts, frames and the world's time. What a fault does to a host
is `deeds`' business.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from marfl_peer.facts import Fact
from marfl_peer.lab.simulator.faults.deeds import Deeds
from marfl_peer.lab.simulator.faults.plan import Fault, Hold, Hosts, Newcomers, Role, Share, Weather
from marfl_peer.lab.simulator.faults.roles import Roles
from marfl_peer.lab.simulator.faults.tap import FrameTap
from marfl_peer.lab.simulator.faults.triggers import At, Direction, Edge, OnFact, OnFrame, step_of
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.lab.simulator.tcp import End
from marfl_peer.protocol.messages import AnyMessage


class Crashed(BaseException):
    """Unwinds what a process was doing when its end came; nobody is to catch it."""


@dataclass(slots=True, eq=False)
class Watch:
    """A fault that waits for its trigger. `left`: how many more hits each host is away from it."""

    fault: Fault
    hosts: tuple[int, ...] | None
    """None: whoever has the role when it comes, once."""
    left: dict[int, int] = field(default_factory=dict)
    is_spent: bool = False

    def concerns(self, index: int) -> bool:
        return not self.is_spent and (self.hosts is None or index in self.hosts)


class Injector:
    """`happened` counts the faults that came, by kind and step: what was tried. `befell` counts those of each player,
    by index; weather and newcomers befall nobody."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._world = simulation.world
        self._random = random.Random(f"{simulation.scenario.seed}/faults")
        self._roles = Roles()
        self._on_facts: list[Watch] = []
        self._on_frames: list[Watch] = []
        self._deeds = Deeds(simulation, rng=self._random, tap_of=self._tap_of, admit=self._admit)
        self.happened: dict[str, int] = {}
        self.befell: dict[int, int] = {}

    def arm(self) -> None:
        """Call it before the world runs."""
        for fault in self._simulation.scenario.plan.faults:
            match fault.when:
                case At():
                    self._world.call(fault.when.time_s, lambda fault=fault: self._due(fault))  # type: ignore[misc]
                case OnFrame():
                    self._on_frames.append(Watch(fault, self._chosen(fault)))
                case OnFact():
                    self._on_facts.append(Watch(fault, self._chosen(fault)))
        for player in self._simulation.players:
            self._admit(player)

    def heard(self, player: Player, fact: Fact) -> None:
        """The player tells a fact. Raises: Crashed if it is its last."""
        self._roles.heard(player.index, fact)
        for watch in self._on_facts:
            if watch.concerns(player.index) and isinstance(watch.fault.when, OnFact) and watch.fault.when.counts(fact):
                step = f"as it tells {type(fact).__name__}"
                self._count(watch, player, getattr(fact, "round", 1), watch.fault.when.nth, None, step)

    # triggers

    def _on_frame(self, player: Player, end: End, message: AnyMessage, direction: Direction, edge: Edge) -> None:
        for watch in self._on_frames:
            when = watch.fault.when
            assert isinstance(when, OnFrame)
            if (when.direction, when.edge) != (direction, edge) or not watch.concerns(player.index):
                continue
            if when.counts(message):
                name = getattr(message, "name", None)
                step = f"{edge} it {direction} {step_of(message)}"
                self._count(watch, player, 1 if name is None else name.round, when.nth, end, step)

    def _count(self, watch: Watch, player: Player, round: int, nth: int, end: End | None, step: str) -> None:
        """One more of what the watch counts; at the `nth` its fault comes, or, for a role, at the first from then on
        at which the host has it."""
        left = watch.left.get(player.index, nth) - 1
        watch.left[player.index] = left
        if (left > 0) if watch.hosts is None else (left != 0):
            return
        who = watch.fault.who
        if isinstance(who, Role):
            if not self._roles.plays(who.part, player.index, round=round, running=self._running()):
                return
            watch.is_spent = True
        process = player.host.process
        self._strike(watch.fault, [player], end, step)
        if process is not None and player.host.process is not process:
            raise Crashed

    def _due(self, fault: Fault) -> None:
        running = self._running()
        match fault.who:
            case Hosts():
                indices = [index for index in fault.who.indices if index < len(self._simulation.players)]
            case Share():
                indices = self._drawn(fault.who, running)
            case Role():
                indices = [
                    index for index in running if self._roles.plays(fault.who.part, index, round=1, running=running)
                ][:1]
        self._strike(fault, [self._simulation.players[index] for index in indices], None, "at a time")

    def _chosen(self, fault: Fault) -> tuple[int, ...] | None:
        match fault.who:
            case Hosts():
                return fault.who.indices
            case Share():
                return tuple(self._drawn(fault.who, list(range(self._simulation.scenario.peers))))
            case Role():
                return None

    def _drawn(self, who: Share, running: list[int]) -> list[int]:
        count = min(len(running), max(1, round(who.share * len(running))))
        return sorted(self._random.sample(running, count))

    def _running(self) -> list[int]:
        return [player.index for player in self._simulation.players if player.host.process is not None]

    # what follows

    def _strike(self, fault: Fault, players: list[Player], end: End | None, step: str) -> None:
        what = fault.what
        if not players and not isinstance(what, Weather | Newcomers):
            return
        name = f"{type(what).__name__.lower()} {step}"
        self.happened[name] = self.happened.get(name, 0) + 1
        if not isinstance(what, Weather | Newcomers):
            self.befell.update((player.index, self.befell.get(player.index, 0) + 1) for player in players)
        self._world.note(None, f"fault: {fault}")
        if isinstance(what, Hold) and end is not None:
            end.hold(what.for_s)
            self._world.after(what.for_s, lambda: self._world.note(None, "fault: hold is over"))
            return
        if end is not None and isinstance(fault.when, OnFrame) and fault.when.edge == "after":
            end.flush()
        self._deeds.do(what, players)

    def _admit(self, player: Player) -> None:
        if any(watch.concerns(player.index) for watch in self._on_frames):
            self._tap_of(player)

    def _tap_of(self, player: Player) -> FrameTap:
        tap = player.host.tap
        if not isinstance(tap, FrameTap):
            tap = FrameTap(lambda *seen: self._on_frame(player, *seen))
            player.host.tap = tap
        return tap
