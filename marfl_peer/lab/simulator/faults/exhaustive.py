"""A crash at every boundary between two messages of an iteration's matchmaking and exchange, of every member of small
groups: killed, killed and started again, or without power."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from marfl_peer.lab.simulator.faults.plan import Crash, Fault, Hosts, Plan
from marfl_peer.lab.simulator.faults.tap import FrameTap
from marfl_peer.lab.simulator.faults.triggers import Direction, Edge, OnFrame, iteration_of
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Simulation
from marfl_peer.lab.simulator.tcp import End
from marfl_peer.protocol.messages import AnyMessage

CRASHED_IN = 2
"""The iteration."""
SHAPES: Sequence[Scenario] = tuple(
    Scenario(seed=1, peers=peers, group_size=group_size, iterations=5, batch_s=0.1)
    for peers, group_size in ((2, 2), (3, 3), (4, 4), (5, 5), (4, 2))
)
"""One line of 2 to 5, and two rounds of 2x2."""
CRASHES: Sequence[Crash] = (Crash(), Crash(restart_after_s=0.3), Crash(silently=True))

Boundary = tuple[int, Direction, int]
"""Peer, direction, and how many frames of the iteration have passed in it."""


def boundaries(scenario: Scenario) -> tuple[Boundary, ...]:
    """Every place between two frames of the iteration, counted in a run without faults."""
    counts: dict[tuple[int, Direction], int] = {}
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(scenario, folder=Path(folder))
        for player in simulation.players:
            player.host.tap = FrameTap(_Counter(player.index, counts))
            simulation.start(player)
        simulation.run(deadline=scenario.limit_s)
        simulation.close()
    return tuple((*place, number) for place, count in sorted(counts.items()) for number in range(1, count + 1))


def exhaustive(
    shapes: Sequence[Scenario] = SHAPES,
    crashes: Sequence[Crash] = CRASHES,
    *,
    stride: int = 1,
    offset: int = 0,
) -> Iterator[Scenario]:
    """All of it: each shape, each crash, at each boundary; or every `stride`-th of them."""
    number = -offset
    for shape in shapes:
        places = boundaries(shape)
        for crash in crashes:
            for place in places:
                if number % stride == 0:
                    yield dataclasses.replace(shape, plan=_plan(crash, place))
                number += 1


def _plan(crash: Crash, place: Boundary) -> Plan:
    index, direction, number = place
    when = OnFrame(direction=direction, iteration=CRASHED_IN, nth=number)
    return Plan(faults=(Fault(what=crash, who=Hosts((index,)), when=when),))


class _Counter:
    """Counts what passes one peer."""

    def __init__(self, index: int, counts: dict[tuple[int, Direction], int]) -> None:
        self._index, self._counts = index, counts

    def __call__(self, _: End, message: AnyMessage, direction: Direction, edge: Edge) -> None:
        if edge == "before" and iteration_of(message) == CRASHED_IN:
            place = self._index, direction
            self._counts[place] = self._counts.get(place, 0) + 1
