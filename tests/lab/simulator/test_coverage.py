"""Counting what runs went through."""

from __future__ import annotations

from collections import Counter

from marfl_peer.lab.simulator.coverage import (
    AT_A_TIME,
    FACT_STEPS,
    KINDS,
    MESSAGE_STEPS,
    PAIRS,
    STEPS,
    counting,
    fault_cells,
    fault_rows,
    missing,
    pair_rows,
)
from marfl_peer.lab.simulator.faults.plan import Fault, Pause, Plan
from marfl_peer.lab.simulator.faults.triggers import FACTS, MESSAGES, At, OnFact, OnFrame
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.protocol.phases import Course, Event


def test_counting_sees_every_step_of_a_run_and_then_no_more() -> None:
    counts: Counter[str] = Counter()
    with counting(counts):
        run(Scenario(seed=1, peers=4, iterations=3))
    assert counts["ABSENT ARRIVED"] == 12
    assert counts["WAITING PROMISED"] == 12
    assert counts["EXCHANGING EXCHANGED"] == 12
    before = dict(counts)
    Course().go(Event.ARRIVED)
    assert counts == before


def test_every_pair_and_every_fault_at_every_step_is_wanted_even_if_never_seen() -> None:
    wanted = missing({})
    assert len(wanted) == len(PAIRS) + sum(map(len, STEPS.values())) == len(set(wanted))
    assert {"WAITING GAVE_UP", "crash at a time", "hold Take", "leave StateFetched"} <= set(wanted)
    assert "hold at a time" not in wanted
    assert "hold StateFetched" not in wanted
    assert dict(pair_rows({})) == dict.fromkeys(PAIRS, 0)
    assert {times for _, cells in fault_rows({}) for times in cells} == {0, None}


def test_steps_are_messages_and_facts_that_there_are() -> None:
    messages = {step for steps in MESSAGE_STEPS.values() for step in steps}
    assert messages <= {*MESSAGES}
    assert {*FACT_STEPS} <= {*FACTS}
    assert {*STEPS} == messages | {*FACT_STEPS} | {AT_A_TIME}


def test_direction_and_edge_of_a_message_count_alike() -> None:
    counts = {
        "crash before it sends Part.gather": 12,
        "crash after it receives Part.gather": 7,
        "pause as it tells StateSaved": 20,
        "newcomers at a time": 20,
        "ABSENT ARRIVED": 20,
    }
    cells = fault_cells(counts)
    assert cells == {("crash", "Part.gather"): 19, ("pause", "StateSaved"): 20, ("newcomers", AT_A_TIME): 20}
    assert dict(fault_rows(counts))["Part.gather"][KINDS.index("crash")] == 19
    enough = {"pause StateSaved", "newcomers at a time", "ABSENT ARRIVED"}
    assert set(missing({})) - set(missing(counts)) == enough
    counts["crash before it receives Part.gather"] = 1
    assert set(missing({})) - set(missing(counts)) == enough | {"crash Part.gather"}


def test_injector_names_faults_as_the_table_reads_them() -> None:
    faults = (
        Fault(what=Pause(for_s=0.1), when=OnFrame(direction="sends", message="Part", iteration=1)),
        Fault(what=Pause(for_s=0.1), when=OnFact(fact="IterationStarted", iteration=2)),
        Fault(what=Pause(for_s=0.1), when=At(time_s=0.5)),
    )
    report = run(Scenario(seed=1, peers=4, iterations=3, plan=Plan(faults=faults)))
    assert fault_cells(report.coverage) == {
        ("pause", "Part.scatter"): 1,
        ("pause", "IterationStarted"): 1,
        ("pause", AT_A_TIME): 1,
    }
