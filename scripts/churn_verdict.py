"""What the journals of a swarm under churn say: did everybody who was not struck hold, and how good is the model?

Reads files and judges; starts and strikes nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import torch

from marfl_peer.averaging.disagreement import disagreement
from marfl_peer.errors import ConfigError
from marfl_peer.facts import (
    AnyFact,
    Fact,
    IterationFinished,
    IterationSkipped,
    IterationStarted,
    LocalUpdateFinished,
    PeerStarted,
    PeerStopped,
    RemoteFault,
    WaitEnded,
    decode_fact,
)
from marfl_peer.lab.churn.log import CHURN_LOG, Deed, read_deeds
from marfl_peer.lab.plan import peer_name
from marfl_peer.learning.tasks.registry import load_data, load_task
from marfl_peer.peer.store import load_state

F = TypeVar("F", bound=Fact)

JOURNAL = "journal.jsonl"
LATE_S = 1.0
"""By how much a wait may outlast its deadline: a timer rings no earlier than the process gets its turn."""
RETURN_ITERATIONS = 3
"""A peer that was kept away from an iteration may miss those that follow: lost in the meantime, it counts again two
iterations after it has said that it lives."""
CAUGHT_UP = "behind the swarm: took its state"


class _Stamp(msgspec.Struct):
    at: float


@dataclass(slots=True)
class Life:
    """One process of a peer, from its journal. `died_in`: the iteration in which it was killed, if it was."""

    peer: int
    facts: list[tuple[float, AnyFact]] = field(default_factory=list)
    died_in: int | None = None

    def told(self, kind: type[F]) -> list[F]:
        return [fact for _, fact in self.facts if isinstance(fact, kind)]

    @property
    def begun(self) -> list[int]:
        """The iterations that it began, ascending."""
        return sorted({fact.iteration for fact in self.told(IterationStarted)})

    @property
    def is_amid_aggregation(self) -> bool:
        """Whether its journal ends between the end of a local update and that of the iteration."""
        last = next(
            (
                fact
                for _, fact in reversed(self.facts)
                if isinstance(fact, IterationStarted | LocalUpdateFinished | IterationFinished)
            ),
            None,
        )
        return isinstance(last, LocalUpdateFinished)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`complaints` is empty where everything held. `owed`: iterations that had to be finished; `finished`: were."""

    complaints: tuple[str, ...]
    struck: int
    amid_aggregation: int
    restarted: int
    owed: int
    finished: int
    missed_by_struck: int
    longest_wait_s: float
    """Over all peers, those included that were on their way in or back."""
    worst_ratio: float
    deadlines_reached: int
    iteration_s: float
    last_disagreement: float
    loss: float
    accuracy: float


def judge(folder: Path, *, peers: int, iterations: int, task: str) -> Verdict:
    """The verdict on one run, from the folder of its peers."""
    deeds = read_deeds(folder / CHURN_LOG)
    lives = [life for peer in range(peers) for life in read_lives(folder, peer, deeds)]
    owed = {(life.peer, number): iterations_owed(life, deeds, iterations) for number, life in enumerate(lives)}
    complaints: list[str] = []
    finished = missed_by_struck = 0
    for number, life in enumerate(lives):
        done = {fact.iteration for fact in life.told(IterationFinished)}
        wanted = owed[life.peer, number]
        finished += len(done & wanted)
        missed_by_struck += len(set(_between(life, iterations)) - wanted - done)
        complaints += _missed(life, sorted(wanted - done))
        complaints += _late(life, deeds)
        complaints += [
            f"{peer_name(life.peer)} blames {fact.remote[:8]}: {fact.code}" for fact in life.told(RemoteFault)
        ]
    complaints += _endings(lives, deeds, peers, iterations)
    waits = [fact for life in lives for fact in life.told(WaitEnded) if fact.iteration]
    rows = [fact for life in lives for fact in life.told(IterationFinished)]
    durations = sorted(row.seconds for row in rows)
    loss, accuracy = tested(folder, task, iterations)
    return Verdict(
        complaints=tuple(complaints),
        struck=sum(deed.action not in ("restart", "resume") for deed in deeds),
        amid_aggregation=sum(life.died_in is not None and life.is_amid_aggregation for life in lives),
        restarted=sum(deed.action == "restart" for deed in deeds),
        owed=sum(len(wanted) for wanted in owed.values()),
        finished=finished,
        missed_by_struck=missed_by_struck,
        longest_wait_s=max((wait.seconds for wait in waits), default=0.0),
        worst_ratio=max((wait.seconds / wait.allowed_s for wait in waits if wait.allowed_s > 1), default=0.0),
        deadlines_reached=sum(wait.seconds >= wait.allowed_s for wait in waits),
        iteration_s=durations[len(durations) // 2] if durations else 0.0,
        last_disagreement=disagreement([row.projection for row in rows if row.iteration == iterations]),
        loss=loss,
        accuracy=accuracy,
    )


def read_lives(folder: Path, peer: int, deeds: Iterable[Deed]) -> list[Life]:
    """The processes of one peer, in their order."""
    lives: list[Life] = []
    for line in (folder / peer_name(peer) / JOURNAL).read_bytes().splitlines():
        fact = decode_fact(line)
        if isinstance(fact, PeerStarted):
            lives.append(Life(peer))
        if lives:
            lives[-1].facts.append((msgspec.json.decode(line, type=_Stamp).at, fact))
    killed_in = [deed.iteration for deed in deeds if deed.peer == peer and deed.action == "kill"]
    for life, iteration in zip(lives, killed_in, strict=False):
        if not life.told(PeerStopped):
            life.died_in = iteration
    return lives


def _between(life: Life, iterations: int) -> range:
    """From the first iteration that a life began to its last."""
    begun = life.begun
    if not begun:
        return range(0)
    return range(begun[0], (iterations if life.died_in is None else life.died_in - 1) + 1)


def iterations_owed(life: Life, deeds: Iterable[Deed], iterations: int) -> set[int]:
    """Those that a life has to finish: all from its first, but those in which it was struck, or was on its way back."""
    struck = [deed.iteration for deed in deeds if deed.peer == life.peer and deed.action in ("dropout", "pause")]
    excused = {iteration + late for iteration in struck for late in range(RETURN_ITERATIONS + 1)}
    return set(_between(life, iterations)) - excused


def _missed(life: Life, iterations: Sequence[int]) -> list[str]:
    reasons = {fact.iteration: fact.reason for fact in life.told(IterationSkipped)}
    return [
        f"{peer_name(life.peer)} did not finish iteration {iteration}: {reasons.get(iteration, 'no reason told')}"
        for iteration in iterations
    ]


def _late(life: Life, deeds: Iterable[Deed]) -> list[str]:
    """Waits that outlasted their deadline; not those during which the waiting peer itself stood still."""
    own = [deed for deed in deeds if deed.peer == life.peer and deed.action in ("dropout", "pause", "slow")]
    return [
        f"{peer_name(life.peer)} waited {fact.seconds:.2f} s of {fact.allowed_s:.2f} s in round {fact.round} of "
        f"{fact.iteration}"
        for at, fact in life.facts
        if isinstance(fact, WaitEnded)
        and fact.iteration
        and fact.seconds > max(fact.allowed_s, 0.0) + LATE_S  # who comes late is allowed nothing, and waits no more
        and not any(at - fact.seconds - LATE_S <= deed.at <= at or deed.action == "slow" for deed in own)
    ]


def _endings(lives: Sequence[Life], deeds: Sequence[Deed], peers: int, iterations: int) -> list[str]:
    last: Mapping[int, Life] = {life.peer: life for life in lives}
    # Who is killed in the last iteration may come back when all others have ended, and finds nobody.
    too_late = {deed.peer for deed in deeds if deed.action == "kill" and deed.iteration >= iterations}
    complaints = []
    for peer in range(peers):
        life = last.get(peer)
        if life is None:
            complaints.append(f"{peer_name(peer)} never started")
            continue
        stopped = life.told(PeerStopped)
        has_finished = bool(stopped) and stopped[-1].reason == "finished"
        if life.died_in is None and not has_finished and peer not in too_late:
            complaints.append(f"{peer_name(peer)} did not finish: {stopped or 'it said nothing'}")
    return complaints


def tested(folder: Path, task_name: str, iterations: int) -> tuple[float, float]:
    """(mean loss, accuracy) of the state after the last iteration on the whole test set: the mean over the peers that
    saved it, of each different one once a peer."""
    task = load_task(task_name)
    data = load_data(task, None)
    known: dict[bytes, tuple[float, float]] = {}
    results = []
    for path in sorted(folder.glob("peer-*")):
        try:
            tensors, manifest = load_state(path)
        except ConfigError:  # a peer that was killed before it saved anything
            continue
        if manifest.iteration != iterations:
            continue
        state = {name[6:]: tensor for name, tensor in sorted(tensors.items()) if name.startswith("model/")}
        key = b"".join(tensor.numpy().tobytes() for tensor in state.values())
        if key not in known:
            model = task.build_model()
            model.load_state_dict(state)
            model.eval()
            with torch.no_grad():
                outputs = model(task.prepare(data.test_inputs))
                correct = float(task.correct(outputs, data.test_labels)) / len(data.test_labels)
                known[key] = (float(task.loss(outputs, data.test_labels)), correct)
        results.append(known[key])
    if not results:
        return float("nan"), float("nan")
    return sum(loss for loss, _ in results) / len(results), sum(right for _, right in results) / len(results)
