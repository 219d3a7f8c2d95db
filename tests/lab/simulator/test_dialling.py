"""Swarms with peers that nobody can dial, in virtual time, under the eyes of all checkers."""

from __future__ import annotations

from collections import Counter

import pytest

from marfl_peer.facts import Fact, GroupAgreed, GroupFinished, PeerSeen
from marfl_peer.lab.simulator.faults.plan import Crash, Cut, Fault, Hosts, Plan
from marfl_peer.lab.simulator.faults.triggers import At
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario

Told = list[tuple[int, Fact]]


def told_by(scenario: Scenario) -> Told:
    """What the peers of a run told; it broke no rule, and all came to its end."""
    told: Told = []
    report = run(scenario, on_fact=lambda player, fact: told.append((player.index, fact)))
    assert report.violations == []
    assert report.finished == report.started
    return told


def outcomes(told: Told, iterations: range) -> Counter[str]:
    return Counter(fact.outcome for _, fact in told if isinstance(fact, GroupFinished) and fact.iteration in iterations)


def losses(told: Told) -> list[str]:
    return [fact.reason for _, fact in told if isinstance(fact, PeerSeen) and fact.event == "lost"]


@pytest.mark.parametrize("dial_only", [(5,), (4, 5)])
def test_all_groups_are_complete_with_peers_that_only_dial(dial_only: tuple[int, ...]) -> None:
    told = told_by(Scenario(seed=1, peers=8, iterations=2, dial_only=dial_only))
    assert outcomes(told, range(1, 3)) == {"complete": 8 * 2 * 2}
    assert losses(told) == []


def test_later_round_in_which_two_cannot_meet_is_complete_by_those_who_play_for_them() -> None:
    """They sit on one line of the second round, where nobody else does; all stay exact."""
    told = told_by(Scenario(seed=14, peers=8, iterations=2, dial_only=(2, 5, 7)))
    found = outcomes(told, range(1, 3))
    assert found["complete"] == 8 * 2 * 2
    assert found.keys() == {"complete", "taken"}
    assert losses(told) == []


@pytest.mark.parametrize("codec", ["float32", "int8"])
def test_one_that_listens_sums_for_three_that_cannot_meet(codec: str) -> None:
    told = told_by(Scenario(seed=3, peers=4, iterations=3, dial_only=(1, 2, 3), codec=codec))
    assert outcomes(told, range(1, 4)) == {"complete": 4 * 3}
    leaders = {fact.leader for _, fact in told if isinstance(fact, GroupAgreed)}
    assert len(leaders) == 1, "whom all can reach"


def test_peer_that_only_dials_is_back_in_complete_groups_after_a_cut() -> None:
    cut = Fault(what=Cut(for_s=4.0), when=At(time_s=1.5), who=Hosts((3,)))
    told = told_by(Scenario(seed=8, peers=4, iterations=12, dial_only=(2, 3), plan=Plan(faults=(cut,))))
    assert outcomes(told, range(1, 13)).keys() > {"complete"}, "the cut was felt"
    assert outcomes(told, range(12, 13)) == {"complete": 4}


def test_listener_that_was_started_again_is_dialled_by_those_who_only_dial() -> None:
    crash = Fault(what=Crash(restart_after_s=1.0), when=At(time_s=1.5), who=Hosts((1,)))
    told = told_by(Scenario(seed=9, peers=5, group_size=5, iterations=10, dial_only=(3, 4), plan=Plan(faults=(crash,))))
    assert outcomes(told, range(10, 11)) == {"complete": 5}
