"""Crashes at the boundaries between messages: a sample of all of them, and that all of them are there."""

from __future__ import annotations

from collections import Counter

import pytest
from swarms import played

from marfl_peer.lab.simulator.faults.exhaustive import CRASHES, SHAPES, boundaries, exhaustive
from marfl_peer.lab.simulator.scenario import Scenario

STRIDE = 47


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.peers}-in-{shape.group_size}s")
def test_boundaries_are_all_messages_of_the_iteration_sent_and_read(shape: Scenario) -> None:
    places = boundaries(shape)
    directions = Counter(direction for _, direction, _ in places)
    assert directions["sends"] == directions["receives"]
    assert {index for index, _, _ in places} == set(range(shape.peers))
    # To each other member: ready, a part, a result, its digest, done. Between leader and member: here, propose.
    lines = shape.peers if shape.peers != shape.group_size else 1
    others = shape.group_size - 1
    assert directions["sends"] == lines * (5 * shape.group_size * others + 2 * others)


def test_every_boundary_is_there_once_for_each_crash() -> None:
    shape = SHAPES[0]
    scenarios = list(exhaustive([shape]))
    assert len({str(scenario.plan) for scenario in scenarios}) == len(scenarios)
    assert len(scenarios) == len(CRASHES) * len(boundaries(shape))
    parts = [list(exhaustive([shape], stride=5, offset=offset)) for offset in range(5)]
    assert sorted(map(str, scenarios)) == sorted(str(scenario) for part in parts for scenario in part)


@pytest.mark.parametrize("scenario", list(exhaustive(stride=STRIDE, offset=11)), ids=lambda s: str(s.plan.faults[0]))
def test_survivors_finish_wherever_a_member_crashes(scenario: Scenario) -> None:
    with played(scenario) as outcome:
        [fault] = scenario.plan.faults
        assert sum(outcome.happened.values()) == 1, "the crash came"
        victims = set() if fault.what.restart_after_s is not None else set(fault.who.indices)  # type: ignore[union-attr]
        assert set(outcome.finished()) == set(range(scenario.peers)) - victims
        assert outcome.failures() == []
