from __future__ import annotations

import pytest
from broken import LOST, NEWCOMER, found, scenario, violations

from marfl_peer.lab.simulator.invariants.watch import MOST_CHARGES
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario


@pytest.mark.parametrize(
    "whole",
    [scenario(), scenario(peers=1), scenario(peers=9), scenario(LOST, iterations=3), scenario(NEWCOMER, iterations=8)],
    ids=["peace", "alone", "full grid", "one lost", "newcomer"],
)
def test_watch_says_nothing_of_a_whole_swarm(whole: Scenario) -> None:
    assert run(whole).violations == []


def test_watch_changes_nothing_in_what_it_watches() -> None:
    first, second = run(scenario(LOST)), run(scenario(LOST))
    assert first.digest == second.digest


def test_watch_tells_a_story_and_stops_after_a_few_charges() -> None:
    reported = violations("weight not summed", scenario())
    assert len(reported) <= MOST_CHARGES
    assert any("GroupFinished 1/1" in line for line in reported[0].story)
    assert reported[0].message.split(" s: ")[0].strip().replace(".", "").isdigit()


def test_watch_of_a_broken_swarm_reports_the_same_twice() -> None:
    assert violations("every peer alike", scenario()) == violations("every peer alike", scenario())
    assert found("every peer alike", scenario()) == {"I6"}
