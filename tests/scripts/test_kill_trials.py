"""The kill trials cover what they say, and their verdict sees what went wrong."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

from marfl_peer.facts import (
    AnyFact,
    Evaluated,
    GroupAgreed,
    GroupFinished,
    IterationFinished,
    IterationSkipped,
    IterationStarted,
    LocalUpdateFinished,
    PeerSeen,
    PeerStarted,
    PeerStopped,
    ViewChanged,
    WaitEnded,
    encode_fact,
)

SCRIPTS = Path(__file__).parents[2] / "scripts"
ITERATIONS = 3


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("kill_trials")


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("kill_verdict")


def started(peer_id: str) -> PeerStarted:
    return PeerStarted(peer_id=peer_id, incarnation=1, run_id="r", host="127.0.0.1", port=1, task="digits")


def waited(seconds: float, iteration: int = 2) -> WaitEnded:
    return WaitEnded(
        iteration=iteration, round=1, waited_for="result", seconds=seconds, allowed_s=12.0, outcome="arrived"
    )


def updated(iteration: int, loss: float | None = 0.5) -> LocalUpdateFinished:
    return LocalUpdateFinished(iteration=iteration, samples=10, batches=1, loss=loss, seconds=0.1)


def agreed(round: int) -> GroupAgreed:
    return GroupAgreed(iteration=2, round=round, line=0, attempt=1, leader="a", members=("a", "b"))


def ended(round: int, line: int, outcome: str = "skipped") -> GroupFinished:
    return GroupFinished(
        iteration=2,
        round=round,
        line=line,
        outcome=outcome,  # type: ignore[arg-type]  # one of the words
        attempts=1,
        members=(),
        absent=2,
        seconds=0.0,
    )


def finished(iteration: int, projection: tuple[float, ...] = (1.0, 2.0)) -> IterationFinished:
    return IterationFinished(
        iteration=iteration,
        seconds=1.0,
        weight=10,
        projection=projection,
        train_loss=0.5,
        evaluated_iteration=None,
        test_accuracy=None,
        test_loss=None,
        groups_complete=2,
        groups_partial=0,
        peers=2,
        bytes_sent={},
        dht_lookups=0,
    )


def life(peer_id: str, *more: AnyFact, first: int = 1, last: tuple[float, ...] = (1.0, 2.0)) -> list[AnyFact]:
    """A peer that finishes all iterations from `first` on, and besides tells `more`."""
    done = [finished(iteration) for iteration in range(first, ITERATIONS)] + [finished(ITERATIONS, last)]
    return [started(peer_id), *more, *done, PeerStopped(reason="finished", iteration=ITERATIONS, detail="")]


def write(folder: Path, facts: Iterable[AnyFact]) -> Path:
    folder.mkdir()
    (folder / "journal.jsonl").write_bytes(b"".join(encode_fact(fact) + b"\n" for fact in facts))
    return folder


def complaints(verdicts: ModuleType, tmp_path: Path, survivor: list[AnyFact], joiner: list[AnyFact]) -> list[str]:
    """Of a run with one survivor, a joiner, and a victim called dead; without the look at what they saved."""
    victim = write(tmp_path / "victim", [started("dead"), updated(2)])
    folders = [write(tmp_path / "survivor", survivor), write(tmp_path / "joiner", joiner)]
    verdict = verdicts.judge(
        victims=[victim],
        survivors=folders[:1],
        joiner=folders[1],
        exit_codes=dict.fromkeys(folders, 0),
        iterations=ITERATIONS,
        task="digits",
    )
    assert verdict.died_in == ("waiting in round 1",)
    return list(verdict.complaints)


def test_twenty_trials_cover_every_phase_and_every_kind_of_victim(trials: ModuleType) -> None:
    plans = [trials.plan_trial(trial, seed=1) for trial in range(20)]
    assert {blow.phase for plan in plans for blow in plan.blows} == set(trials.Phase)
    assert {(plan.who, plan.together) for plan in plans} >= {("leaders", True), ("others", False), ("one line", True)}
    for plan in plans:
        ranks = {blow.rank for blow in plan.blows}
        assert len(ranks) == 3
        assert plan.contact not in ranks
        assert ranks <= set(range(16))
        if plan.who == "leaders":
            assert ranks <= set(trials.LEADERS)


def test_trial_follows_from_its_seed(trials: ModuleType) -> None:
    assert trials.plan_trial(3, seed=1) == trials.plan_trial(3, seed=1)
    assert trials.plan_trial(3, seed=1) != trials.plan_trial(3, seed=2)


@pytest.mark.parametrize(
    ("facts", "phase"),
    [
        ([], "starting"),
        ([IterationStarted(iteration=2)], "training"),
        ([IterationStarted(iteration=2), updated(2)], "waiting in round 1"),
        ([updated(2), agreed(1), waited(0.1)], "exchanging in round 1"),
        ([agreed(1), ended(1, 0, "complete")], "waiting in round 2"),
        ([ended(1, 0, "complete"), agreed(2)], "exchanging in round 2"),
        ([agreed(2), ended(2, 0, "complete")], "between iterations"),
        ([finished(2), Evaluated(iteration=2, correct=1.0, seen=2, loss=0.1, scope="share")], "between iterations"),
    ],
)
def test_phase_of_a_death_is_read_from_the_journals_end(verdicts: ModuleType, facts: list[AnyFact], phase: str) -> None:
    assert verdicts.phase_of([started("dead"), *facts]) == phase


VIEW = ViewChanged(iteration=1, digest="d", peers=4, grid=(2, 2), cell=3)
LOST = PeerSeen(peer_id="lives", event="lost", iteration=2, reason="silent")
WRONGS: dict[str, tuple[AnyFact, str]] = {
    "a wait beyond its deadline": (waited(13.5), "waited 13.50 s of 12.00 s in round 1 of 2"),
    "a skipped iteration": (IterationSkipped(iteration=2, reason="behind"), "skipped iteration 2: behind"),
    "a false loss": (LOST, "lost lives, which lives: silent"),
    "no training loss": (updated(2, None), "has no training loss in iterations [2]"),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_verdict_names_what_went_wrong(verdicts: ModuleType, tmp_path: Path, wrong: str) -> None:
    fact, text = WRONGS[wrong]
    found = complaints(verdicts, tmp_path, life("lives too", fact), life("joiner", first=3))
    assert found == [f"survivor {text}"]


def test_round_of_the_own_cell_must_not_be_given_up(verdicts: ModuleType, tmp_path: Path) -> None:
    # cell 3 of 2 x 2 is on line 1 in round 1 and on line 2 in round 2; it plays for others on the other lines
    facts = life("a", VIEW, ended(1, 0), ended(2, 0), ended(2, 2))
    assert complaints(verdicts, tmp_path, facts, life("b", first=2)) == ["survivor gave up round 2 of 2"]


def test_loss_of_the_dead_is_no_false_one_but_two_states_at_the_end_are_one_too_many(
    verdicts: ModuleType, tmp_path: Path
) -> None:
    dead = PeerSeen(peer_id="dead", event="lost", iteration=2, reason="silent")
    found = complaints(verdicts, tmp_path, life("a", dead), life("b", first=2, last=(1.0, 2.1)))
    assert len(found) == 1
    assert found[0].startswith("the disagreement at the end is ")


def test_peer_that_did_not_finish_is_named(verdicts: ModuleType, tmp_path: Path) -> None:
    found = complaints(verdicts, tmp_path, [started("a"), finished(1)], life("b", first=2))
    assert found[0] == "survivor did not finish: None"
