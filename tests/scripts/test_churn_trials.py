"""The churn trials do what they say, and their verdict sees who did not hold."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from marfl_peer.facts import AnyFact, IterationSkipped, IterationStarted, LocalUpdateFinished, WaitEnded
from marfl_peer.lab.churn.log import Deed
from marfl_peer.lab.churn.plan import Action, Chance, Share

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("churn_trials")


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("churn_verdict")


def waited(seconds: float, allowed_s: float) -> WaitEnded:
    return WaitEnded(
        iteration=2, round=1, waited_for="result", seconds=seconds, allowed_s=allowed_s, outcome="deadline"
    )


def deed(action: str, iteration: int, *, at: float = 0.0, peer: int = 0) -> Deed:
    return Deed(at=at, action=action, peer=peer, iteration=iteration)


def test_plans_strike_in_every_iteration(trials: ModuleType) -> None:
    (kill,) = trials.plan_of("kill", 0.2, 3).events
    assert (kill.action, kill.peers, kill.restart_after_s is not None) == (Action.KILL, Share(0.2), True)
    (dropout,) = trials.plan_of("dropout", 0.2, 3).events
    assert (dropout.action, dropout.peers) == (Action.DROPOUT, Chance(0.2))
    assert all(event.is_due(iteration) for event in (kill, dropout) for iteration in (1, 2, 9))


def test_life_owes_all_from_its_first_iteration_to_its_end(verdicts: ModuleType) -> None:
    life = verdicts.Life(0, [(0.0, IterationStarted(iteration=3)), (1.0, IterationStarted(iteration=4))])
    assert verdicts.iterations_owed(life, [], 8) == {3, 4, 5, 6, 7, 8}
    life.died_in = 5
    assert verdicts.iterations_owed(life, [], 8) == {3, 4}
    assert verdicts.iterations_owed(verdicts.Life(0), [], 8) == set(), "it never got in"


def test_dropped_out_peer_is_excused_until_it_can_be_back(verdicts: ModuleType) -> None:
    life = verdicts.Life(0, [(0.0, IterationStarted(iteration=1))])
    assert verdicts.iterations_owed(life, [deed("dropout", 2)], 8) == {1, 6, 7, 8}
    assert verdicts.iterations_owed(life, [deed("dropout", 2, peer=1)], 8) == set(range(1, 9))


def test_missed_iteration_is_a_complaint_with_its_reason(verdicts: ModuleType) -> None:
    life = verdicts.Life(4, [(0.0, IterationSkipped(iteration=2, reason="behind"))])
    assert verdicts._missed(life, [2, 3]) == [
        "peer-004 did not finish iteration 2: behind",
        "peer-004 did not finish iteration 3: no reason told",
    ]


@pytest.mark.parametrize(
    ("seconds", "allowed_s", "action", "is_late"),
    [
        (12.5, 12.0, "kill", False),
        (13.5, 12.0, "kill", True),
        (0.0, -4.0, "kill", False),
        (13.5, 12.0, "dropout", False),
        (13.5, 12.0, "slow", False),
    ],
)
def test_wait_beyond_its_deadline_is_late_unless_the_peer_stood_still(
    verdicts: ModuleType, seconds: float, allowed_s: float, action: str, is_late: bool
) -> None:
    life = verdicts.Life(0, [(100.0, waited(seconds, allowed_s))])
    assert bool(verdicts._late(life, [deed(action, 2, at=95.0)])) == is_late


def test_death_amid_an_aggregation_is_told_by_the_last_facts(verdicts: ModuleType) -> None:
    updated = LocalUpdateFinished(iteration=1, samples=1, batches=1, loss=0.1, seconds=0.1)
    facts: list[tuple[float, AnyFact]] = [(0.0, IterationStarted(iteration=1))]
    assert not verdicts.Life(0, facts).is_amid_aggregation
    assert verdicts.Life(0, [*facts, (1.0, updated), (2.0, waited(0.1, 12.0))]).is_amid_aggregation
