"""What the journals and saved states of a swarm say about the peers that were killed in it: did the others hold?

Reads files and judges; starts and kills nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from marfl_peer.averaging.disagreement import disagreement
from marfl_peer.facts import (
    AnyFact,
    Evaluated,
    GroupAgreed,
    GroupFinished,
    IterationFinished,
    IterationSkipped,
    IterationStarted,
    LocalUpdateFinished,
    LoopLagged,
    PeerSeen,
    PeerStarted,
    PeerStopped,
    RemoteFault,
    ViewChanged,
    WaitEnded,
    decode_fact,
)
from marfl_peer.ids import Cell, Round
from marfl_peer.learning.tasks.registry import load_data, load_task
from marfl_peer.peer.store import load_state
from marfl_peer.protocol.grid import Grid

JOURNAL = "journal.jsonl"
MAX_DISAGREEMENT = 1e-5
LEAST_ACCURACY = 0.9
LATE_S = 1.0
"""By how much a wait may outlast its deadline: a timer rings no earlier than the process gets its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`complaints` is empty where everything held. Seconds and counts are over the survivors and the joiner."""

    complaints: tuple[str, ...]
    died_in: tuple[str, ...]
    finished: int
    longest_wait_s: float
    worst_ratio: float
    """Of a wait for other peers to what it was allowed."""
    deadlines_reached: int
    slowest_iteration_s: float
    most_lag_s: float
    worst_disagreement: float
    last_disagreement: float
    joined_at: int
    accuracy: float


def read_journal(folder: Path) -> list[AnyFact]:
    """The facts of one peer, in their order."""
    return [decode_fact(line) for line in (folder / JOURNAL).read_bytes().splitlines()]


def phase_of(facts: Sequence[AnyFact]) -> str:
    """What a peer was doing when its journal ended."""
    for fact in reversed(facts):
        match fact:
            case IterationFinished() | Evaluated():
                return "between iterations"
            case IterationStarted():
                return "training"
            case LocalUpdateFinished():
                return "waiting in round 1"
            case GroupAgreed():
                return f"exchanging in round {fact.round}"
            case GroupFinished():
                return "waiting in round 2" if fact.round == 1 else "between iterations"
    return "starting"


def judge(
    *,
    victims: Iterable[Path],
    survivors: Sequence[Path],
    joiner: Path,
    exit_codes: Mapping[Path, int | None],
    iterations: int,
    task: str,
) -> Verdict:
    """The verdict on one run, from the folders of its peers."""
    killed = {folder: read_journal(folder) for folder in victims}
    journals = {folder: read_journal(folder) for folder in (*survivors, joiner)}
    complaints = [
        *(text for folder in journals for text in _ending(folder, journals[folder], exit_codes, iterations)),
        *(text for folder in survivors for text in _left_behind(folder, journals[folder])),
        *_false_losses(journals, killed),
        *(text for folder, facts in journals.items() for text in _late_waits(folder, facts)),
        *(text for folder, facts in journals.items() for text in _faults(folder, facts)),
        *(text for folder, facts in journals.items() for text in _untrained(folder, facts)),
    ]
    waits = [fact for facts in journals.values() for fact in facts if isinstance(fact, WaitEnded) and fact.iteration]
    done = {folder: _finished(facts) for folder, facts in journals.items()}
    apart = [_disagreement(done.values(), iteration) for iteration in range(1, iterations + 1)]
    complaints += _about_result(done, iterations, joiner)
    accuracies = {folder: _tested_accuracy(folder, task) for folder in journals} if not complaints else {}
    if len(set(accuracies.values())) > 1:
        complaints.append(f"accuracies differ: {sorted(set(accuracies.values()))}")
    if accuracies and min(accuracies.values()) < LEAST_ACCURACY:
        complaints.append(f"the swarm has learned too little: accuracy {min(accuracies.values()):.4f}")
    return Verdict(
        complaints=tuple(complaints),
        died_in=tuple(phase_of(facts) for facts in killed.values()),
        finished=sum(iterations in rows for rows in done.values()),
        longest_wait_s=max((wait.seconds for wait in waits), default=0.0),
        worst_ratio=max((wait.seconds / max(wait.allowed_s, 1e-9) for wait in waits), default=0.0),
        deadlines_reached=sum(wait.seconds >= wait.allowed_s for wait in waits),
        slowest_iteration_s=max((row.seconds for rows in done.values() for row in rows.values()), default=0.0),
        most_lag_s=max(
            (fact.seconds for facts in journals.values() for fact in facts if isinstance(fact, LoopLagged)), default=0.0
        ),
        worst_disagreement=max(apart),
        last_disagreement=apart[-1],
        joined_at=min(done[joiner], default=0),
        accuracy=accuracies.get(joiner, 0.0),
    )


def _finished(facts: Iterable[AnyFact]) -> dict[int, IterationFinished]:
    return {fact.iteration: fact for fact in facts if isinstance(fact, IterationFinished)}


def _disagreement(rows: Iterable[Mapping[int, IterationFinished]], iteration: int) -> float:
    return disagreement([finished[iteration].projection for finished in rows if iteration in finished])


def _ending(
    folder: Path, facts: Sequence[AnyFact], exit_codes: Mapping[Path, int | None], iterations: int
) -> list[str]:
    complaints = []
    stopped = next((fact for fact in facts if isinstance(fact, PeerStopped)), None)
    if stopped is None or stopped.reason != "finished" or stopped.iteration != iterations:
        complaints.append(f"{folder.name} did not finish: {stopped}")
    if exit_codes.get(folder) != 0:
        complaints.append(f"{folder.name} ended with exit code {exit_codes.get(folder)}")
    return complaints


def _left_behind(folder: Path, facts: Iterable[AnyFact]) -> list[str]:
    """No survivor has a reason to miss an iteration, or a round of its own cell.

    Of a line on which it only plays for others nobody misses anything if all of these are gone.
    """
    complaints = []
    grid, cell = Grid(()), Cell(0)
    for fact in facts:
        match fact:
            case ViewChanged() if fact.cell is not None:
                grid, cell = Grid(fact.grid), Cell(fact.cell)
            case IterationSkipped():
                complaints.append(f"{folder.name} skipped iteration {fact.iteration}: {fact.reason}")
            case GroupFinished() if fact.outcome == "skipped" and fact.round <= grid.rounds:
                if fact.line == grid.line_name(cell, Round(fact.round)):
                    complaints.append(f"{folder.name} gave up round {fact.round} of {fact.iteration}")
    return complaints


def _false_losses(journals: Mapping[Path, Sequence[AnyFact]], killed: Mapping[Path, Sequence[AnyFact]]) -> list[str]:
    dead = {fact.peer_id for facts in killed.values() for fact in facts if isinstance(fact, PeerStarted)}
    return [
        f"{folder.name} lost {fact.peer_id[:8]}, which lives: {fact.reason}"
        for folder, facts in journals.items()
        for fact in facts
        if isinstance(fact, PeerSeen) and fact.event == "lost" and fact.peer_id not in dead
    ]


def _late_waits(folder: Path, facts: Iterable[AnyFact]) -> list[str]:
    waits = [fact for fact in facts if isinstance(fact, WaitEnded) and fact.iteration]
    return [
        f"{folder.name} waited {wait.seconds:.2f} s of {wait.allowed_s:.2f} s in round {wait.round} of {wait.iteration}"
        for wait in waits
        if wait.seconds > wait.allowed_s + LATE_S
    ]


def _faults(folder: Path, facts: Iterable[AnyFact]) -> list[str]:
    return [
        f"{folder.name} blames {fact.remote[:8]}: {fact.code} {fact.detail}"
        for fact in facts
        if isinstance(fact, RemoteFault)
    ]


def _untrained(folder: Path, facts: Iterable[AnyFact]) -> list[str]:
    lost = [fact.iteration for fact in facts if isinstance(fact, LocalUpdateFinished) and fact.loss is None]
    return [f"{folder.name} has no training loss in iterations {lost}"] if lost else []


def _about_result(done: Mapping[Path, Mapping[int, IterationFinished]], iterations: int, joiner: Path) -> list[str]:
    complaints = []
    apart = _disagreement(done.values(), iterations)
    if apart > MAX_DISAGREEMENT:
        complaints.append(f"the disagreement at the end is {apart:.1e}")
    mine = done[joiner]
    if not mine:
        return [*complaints, "the joiner finished no iteration"]
    missed = [iteration for iteration in range(min(mine), iterations + 1) if iteration not in mine]
    if missed:
        complaints.append(f"the joiner was in the swarm and missed iterations {missed}")
    return complaints


def _tested_accuracy(folder: Path, task_name: str) -> float:
    """Of the state that a peer saved last, on the whole test set."""
    task = load_task(task_name)
    data = load_data(task, None)
    tensors, _ = load_state(folder)
    model = task.build_model()
    model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model/")})
    model.eval()
    with torch.no_grad():
        correct = task.correct(model(task.prepare(data.test_inputs)), data.test_labels)
    return float(correct) / len(data.test_labels)
