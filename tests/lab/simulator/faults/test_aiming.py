"""Faults that are aimed at steps: at each that the table wants, by every kind, and survivable."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest

from marfl_peer.lab.simulator.coverage import AT_A_TIME, FACT_STEPS, STEPS
from marfl_peer.lab.simulator.faults.aiming import RARE_STORIES, STORIES, aimed
from marfl_peer.lab.simulator.faults.plan import ANYONE, Crash, Fault, Hostile, Leave, Plan
from marfl_peer.lab.simulator.faults.triggers import OnFact, OnFrame
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario

SCENARIO = Scenario(seed=1, peers=8, group_size=4)
DRAWN = [
    aimed(random.Random(f"{exchange} {seed}"), dataclasses.replace(SCENARIO, exchange=exchange), may_leave=2)
    for exchange in ("butterfly", "all-gather")
    for seed in range(5000)
]


def _step(fault: Fault) -> str | None:
    match fault.when:
        case OnFrame():
            return fault.when.message
        case OnFact():
            return fault.when.fact
        case _:
            return None


def test_every_kind_of_fault_is_aimed_at_every_step() -> None:
    cells = Counter(
        (type(fault.what).__name__.lower(), _step(fault)) for faults in DRAWN for fault in faults if fault.who == ANYONE
    )
    wanted = [(kind, step) for step, kinds in STEPS.items() if step != AT_A_TIME for kind in kinds]
    assert min(cells[cell] for cell in wanted) >= 30
    assert {step for story in STORIES for step in story.steps} == {*STEPS} - {AT_A_TIME}
    assert {step for story in RARE_STORIES for step in story.steps} < {*STEPS}
    assert not any(kind == "hold" and step in FACT_STEPS for kind, step in cells)


def test_who_crashes_comes_back_and_few_leave() -> None:
    for faults in DRAWN:
        assert all(fault.what.restart_after_s is not None for fault in faults if isinstance(fault.what, Crash))
        assert sum(isinstance(fault.what, Leave) for fault in faults) <= 2
        assert not any(isinstance(fault.what, Hostile) for fault in faults)
    stay = [aimed(random.Random(seed), SCENARIO, may_leave=0) for seed in range(1000)]
    assert not any(isinstance(fault.what, Leave) for faults in stay for fault in faults)


def test_lines_of_two_and_an_exchange_without_owners_are_not_aimed_at_for_what_they_lack() -> None:
    pairs = Scenario(seed=1, group_size=2, exchange="all-gather")
    steps = {_step(fault) for seed in range(2000) for fault in aimed(random.Random(seed), pairs, may_leave=2)}
    assert not steps & {"Part.gather", "ChunkDigest", "Take", "Have", "Nack", "CannotPlay"}


@pytest.mark.parametrize("peers", [1, 2])
def test_tiny_swarms_can_be_aimed_at(peers: int) -> None:
    for seed in range(200):
        aimed(random.Random(seed), Scenario(seed=1, peers=peers, iterations=1), may_leave=0)


def test_steps_are_come_to_as_a_rule() -> None:
    struck = 0
    for seed in range(12):
        scenario = Scenario(seed=seed, peers=5, group_size=3, iterations=5)
        faults = aimed(random.Random(seed), scenario, may_leave=2)
        report = run(dataclasses.replace(scenario, plan=Plan(faults=faults)))
        waiting = {_step(fault) for fault in faults[-2:]}
        struck += any(name.split()[-1] in waiting for name in report.coverage)
    assert struck >= 8
