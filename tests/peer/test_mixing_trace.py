"""What is told of a cell's walk: once a round, also where several rounds end in one turn, and never twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.facts import Fact, VectorSketched
from marfl_peer.ids import Cell
from marfl_peer.peer.mixing_trace import MixingTrace
from marfl_peer.peer.vectors import Vectors
from marfl_peer.protocol.aggregations import AnyAggregation
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.walks import Stand, Walk

FIRST, SECOND = (LineName(iteration=3, round=number, line=0) for number in (1, 2))


@dataclass
class Machine:
    """Stands for the aggregation: the walk of the peer's own cell, once it has begun."""

    iteration: int = 3
    walk: Walk | None = None
    facts: list[Fact] = field(default_factory=list)

    def home_stand_at(self, round: int) -> Stand | None:
        return None if self.walk is None else self.walk.stand_at(round)

    def told(self) -> list[tuple[int, int, tuple[float, ...]]]:
        assert all(isinstance(fact, VectorSketched) and fact.iteration == 3 for fact in self.facts)
        return [(fact.round, fact.weight, fact.sketch) for fact in self.facts if isinstance(fact, VectorSketched)]


def stand(vector: LineName | None, weight: int) -> Stand:
    return Stand(vector=vector, holding=Holding(weight=weight, sums=(), maxima=()))


def traced(machine: Machine) -> MixingTrace:
    aggregation = cast(AnyAggregation, machine)
    vectors = Vectors(aggregation, BufferPool(2))
    for number, name in enumerate((None, FIRST, SECOND)):
        vectors[name] = torch.full((2,), float(number))
    return MixingTrace(aggregation, vectors, sketch=lambda vector: tuple(vector.tolist()), tell=machine.facts.append)


def test_nothing_is_told_before_the_update_is_there() -> None:
    machine = Machine()
    traced(machine).follow()
    assert machine.told() == []


def test_every_round_is_told_once_with_what_was_held_after_it() -> None:
    machine = Machine()
    trace = traced(machine)
    machine.walk = Walk(Cell(0), 1, stand(None, 5))
    trace.follow()
    trace.follow()
    assert machine.told() == [(0, 5, (0.0, 0.0))]
    machine.walk.advance(stand(FIRST, 20))
    trace.follow()
    assert machine.told()[1:] == [(1, 20, (1.0, 1.0))]


def test_rounds_that_end_in_one_turn_are_told_each() -> None:
    machine = Machine(walk=Walk(Cell(0), 1, stand(None, 5)))
    trace = traced(machine)
    assert machine.walk is not None
    machine.walk.advance(stand(FIRST, 20))
    machine.walk.advance(stand(SECOND, 80))
    trace.follow()
    assert [sketch for _, _, sketch in machine.told()] == [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]


def test_round_without_a_result_is_told_with_what_the_cell_kept() -> None:
    machine = Machine(walk=Walk(Cell(0), 1, stand(None, 5)))
    trace = traced(machine)
    assert machine.walk is not None
    machine.walk.advance(None)
    trace.follow()
    assert machine.told() == [(0, 5, (0.0, 0.0)), (1, 5, (0.0, 0.0))]
