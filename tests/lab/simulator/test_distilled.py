"""Swarms that distil before they average: that all agree after it, and that nobody waits for long or stops whatever
befalls a mate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from marfl_peer.facts import (
    Distilled,
    Fact,
    IterationFinished,
    RemoteFault,
    StateResumed,
    WaitEnded,
)
from marfl_peer.lab.simulator.faults.drawing import draw
from marfl_peer.lab.simulator.faults.plan import (
    Action,
    Crash,
    Cut,
    Fault,
    Hostile,
    Hosts,
    Leave,
    Newcomers,
    Pause,
    Plan,
    Slow,
)
from marfl_peer.lab.simulator.faults.triggers import OnFact
from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.report import Report
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player
from marfl_peer.protocol.deadlines import MIN_PATIENCE_S

MKD = Scenario(seed=5, peers=6, group_size=3, iterations=4, mkd_iterations=3)


class Story:
    """What a run told, by peer, and the state that each held at the end of its iterations."""

    def __init__(self, scenario: Scenario) -> None:
        self.facts: list[tuple[int, Fact]] = []
        self.states: dict[tuple[int, int], bytes] = {}
        self.held: set[int] = set()
        self.report: Report = run(scenario, on_fact=self._note)
        assert [f"{one.invariant}: {one.message}" for one in self.report.violations] == []

    def _note(self, player: Player, fact: Fact) -> None:
        self.facts.append((player.index, fact))
        if isinstance(fact, IterationFinished) and player.peer is not None:
            self.states[player.index, fact.iteration] = sight.agreed_vector(player.peer).tobytes()
            self.held.add(len(player.peer._parts.distilling.teaching))

    def of(self, kind: type[Any], index: int | None = None) -> list[Any]:
        return [fact for who, fact in self.facts if isinstance(fact, kind) and index in (None, who)]

    def bytes_of(self, kind: str, iteration: int) -> int:
        return sum(fact.bytes_sent[kind] for fact in self.of(IterationFinished) if fact.iteration == iteration)


def befallen(*faults: tuple[Action, str, int, Sequence[int]], scenario: Scenario = MKD) -> Story:
    """A run in which these happen to hosts as they tell a fact of an iteration."""
    plan = Plan(
        faults=tuple(
            Fault(what=what, when=OnFact(fact=fact, iteration=iteration), who=Hosts(tuple(hosts)))
            for what, fact, iteration, hosts in faults
        )
    )
    return Story(replace(scenario, plan=plan))


# in peace


def test_without_distillation_nothing_is_told_or_sent_of_it() -> None:
    story = Story(replace(MKD, mkd_iterations=0))
    assert story.of(Distilled) == []
    assert {story.bytes_of("tensor", iteration) for iteration in (2, 3)} == {story.bytes_of("tensor", 4)}


@pytest.mark.parametrize("peers", [1, 2, 5, 6, 9])
def test_all_agree_after_distilling_on_full_and_other_grids(peers: int) -> None:
    story = Story(replace(MKD, peers=peers))
    assert story.report.finished == peers
    for iteration in range(1, 5):
        assert len({story.states[index, iteration] for index in range(peers)}) == 1
    distilled = story.of(Distilled)
    assert {fact.iteration for fact in distilled} == ({1, 2, 3} if peers > 1 else set())
    assert all(fact.candidates == fact.asked > 0 == len(fact.teachers) - 1 for fact in distilled)
    assert {round(fact.follow, 3) for fact in distilled} == ({1.0, 0.667, 0.333} if peers > 1 else set())
    assert story.held == {0}, "models are let go"


def test_distilling_changes_what_is_learned_and_costs_what_its_models_do() -> None:
    plain, distilled = Story(replace(MKD, mkd_iterations=0, peers=9)), Story(replace(MKD, peers=9))
    assert plain.states[0, 1] != distilled.states[0, 1]
    # All-gather of theta on two lines of three: two models to each of two mates, of 36 + 4 values.
    more = distilled.bytes_of("tensor", 2) - plain.bytes_of("tensor", 2)
    received = sum(fact.bytes_received for fact in distilled.of(Distilled) if fact.iteration == 2)
    assert received <= more <= received + 9 * 4 * 250
    assert received == 9 * 4 * len(distilled.states[0, 1]) // 2
    assert distilled.bytes_of("tensor", 4) == plain.bytes_of("tensor", 4)


def test_teachers_that_take_turns_are_all_that_is_fetched() -> None:
    outputs, turns = (Story(replace(MKD, peers=9, mkd_ranking=ranking)) for ranking in ("outputs", "turns"))
    for index in range(9):
        fetched = [sum(fact.bytes_received for fact in story.of(Distilled, index)) for story in (outputs, turns)]
        assert fetched[0] == 2 * fetched[1]
    teachers = [fact.teachers[0] for fact in turns.of(Distilled) if (fact.iteration, fact.round) == (1, 1)]
    assert len(set(teachers)) == 9, "everybody teaches one mate"
    mine = [fact.teachers[0] for fact in turns.of(Distilled, 0) if fact.round == 1]
    assert mine[0] != mine[1] == turns.of(Distilled, 0)[2].teachers[0] or mine[0] == mine[2] != mine[1]


def test_encoded_models_cost_less_and_all_agree_as_ever() -> None:
    full, short = (Story(replace(MKD, peers=9, mkd_codec=codec)) for codec in ("float32", "int8"))
    for fact, other in zip(full.of(Distilled, 0), short.of(Distilled, 0), strict=True):
        assert other.bytes_received < fact.bytes_received / 2
    assert len({short.states[index, 4] for index in range(9)}) == 1
    assert short.of(RemoteFault) == []


def test_who_does_not_train_neither_learns_nor_teaches() -> None:
    story = Story(replace(MKD, peers=9, participation_update=0.5))
    for iteration in (1, 2, 3):
        students = {index for index in range(9) for fact in story.of(Distilled, index) if fact.iteration == iteration}
        assert len(students) == 5
    assert any(fact.candidates < fact.asked for fact in story.of(Distilled))
    waits = [fact for fact in story.of(WaitEnded) if fact.waited_for == "models"]
    assert max(fact.seconds for fact in waits) < 2.0, "they are told that there is nothing to wait for"


# faults


@pytest.mark.parametrize(
    "what",
    [
        Crash(),
        Crash(silently=True),
        Crash(restart_after_s=1.0),
        Pause(for_s=2.0),
        Pause(for_s=8.0),
        Leave(),
        Cut(for_s=6.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("fact", ["LocalUpdateFinished", "Distilled"])
def test_swarm_goes_on_whatever_befalls_a_mate_that_distils(what: Action, fact: str) -> None:
    story = befallen((what, fact, 2, [2]))
    waits = [wait for wait in story.of(WaitEnded) if wait.waited_for == "models"]
    assert all(wait.seconds <= wait.allowed_s + 0.5 for index, wait in story.facts if wait in waits and index != 2)
    finished = {index for index in range(6) for fact in story.of(IterationFinished, index) if fact.iteration == 4}
    assert finished >= {0, 1, 3, 4, 5}


def test_mate_that_only_trains_for_longer_is_waited_for_and_nobody_is_left_out() -> None:
    """It is alive: it is late by a little less than what is allowed, and the averaging that follows knows of that."""
    story = befallen((Slow(factor=20.0, for_s=8.0), "IterationStarted", 2, [2]))
    waits = [fact.seconds for fact in story.of(WaitEnded) if fact.waited_for == "models"]
    assert max(waits) > 2.0
    assert all(fact.groups_partial == 0 for fact in story.of(IterationFinished))
    assert all(fact.candidates == fact.asked for fact in story.of(Distilled))


def test_mate_that_is_late_beyond_all_patience_is_done_without() -> None:
    story = befallen((Slow(factor=100.0, for_s=60.0), "IterationStarted", 2, [2]))
    waits = [fact for fact in story.of(WaitEnded) if fact.waited_for == "models"]
    assert MIN_PATIENCE_S < max(fact.seconds for fact in waits) < 3 * MIN_PATIENCE_S
    assert any(fact.outcome != "arrived" for fact in waits)


@pytest.mark.parametrize("lie", ["nan", "inf", "garbage", "oversized", "malformed", "duplicate", "replay"])
@pytest.mark.parametrize("codec", ["float32", "int8"])
def test_liar_is_found_and_teaches_nobody(lie: Any, codec: str) -> None:
    story = befallen(
        (Hostile(lie=lie, for_s=3.0), "LocalUpdateFinished", 2, [2]), scenario=replace(MKD, mkd_codec=codec)
    )
    assert story.report.finished >= 5
    if lie in ("nan", "inf"):
        faults = story.of(RemoteFault)
        assert any(fact.code == "bad_model" for fact in faults)


def test_killed_peer_comes_back_and_distils_again() -> None:
    story = befallen(
        (Crash(restart_after_s=0.5), "Distilled", 1, [2]), scenario=replace(MKD, iterations=12, mkd_iterations=12)
    )
    assert story.of(StateResumed, 2) or len(story.of(Distilled, 2)) > 2
    assert [fact.iteration for fact in story.of(Distilled, 2)][-1] == 12
    assert story.of(Distilled, 2)[-1].candidates == story.of(Distilled, 2)[-1].asked


def test_newcomers_distil_as_soon_as_they_train() -> None:
    story = befallen((Newcomers(count=2), "Distilled", 1, [0]), scenario=replace(MKD, iterations=10, mkd_iterations=10))
    assert story.report.finished == 8
    assert len(story.of(Distilled, 7)) > 2


@pytest.mark.parametrize("seed", range(4))
def test_drawn_faults_break_no_promise(seed: int) -> None:
    story = Story(draw(seed, peers=8, iterations=8, mkd_iterations=8))
    assert story.of(Distilled)
