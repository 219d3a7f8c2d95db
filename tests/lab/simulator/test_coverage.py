"""Counting what runs went through."""

from __future__ import annotations

from collections import Counter

from marfl_peer.lab.simulator.coverage import PAIRS, counting, table
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


def test_table_has_every_pair_and_says_which_was_hit_too_rarely() -> None:
    rows = table({"ABSENT ARRIVED": 20, "WAITING TOOK": 19, "fault kill": 50})
    assert [name for name, _, _ in rows] == [*PAIRS, "fault kill"]
    enough = {name for name, _, is_enough in rows if is_enough}
    assert enough == {"ABSENT ARRIVED", "fault kill"}
    assert ("WAITING GAVE_UP", 0, False) in rows
