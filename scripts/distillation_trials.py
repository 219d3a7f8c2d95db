"""Measures distillation: how many bytes a peer sends until the swarm's test accuracy reaches a target, with MKD and
without, all else equal. The peers' own code runs on the virtual loop, so the figures do not depend on the machine.

    python scripts/distillation_trials.py 20news --data-dir DATA --seed 1 \
        --set batch_size=25 --set lr=2.0 --set mkd_iterations=10 --set mkd_ranking=turns --set mkd_codec=int4

prints one line of JSON a seed. MKD: docs/distillation.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from marfl_peer.facts import Distilled, Evaluated, Fact, IterationFinished
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.learning.tasks.base import Task, TaskData
from marfl_peer.learning.tasks.registry import load_task

LIMIT_S = 1e5
"""Virtual."""


@dataclass(frozen=True)
class Trial:
    """`reached`: the first iteration after which the accuracy was at least the target, or None; `megabytes`: what a
    peer sent up to it, or to the end, by kind, 10^6 bytes each; `lessons`: rounds with a teacher, a peer."""

    seed: int
    reached: int | None
    accuracy: float
    megabytes: dict[str, float]
    lessons: float


def trial(seed: int, given: dict[str, object], task: Task, data: TaskData, *, peers: int, iterations: int) -> Trial:
    """One run until the target is reached. `given`: settings by name."""
    told: list[Fact] = []

    def note(player: Player, fact: Fact) -> None:
        if isinstance(fact, Evaluated | IterationFinished | Distilled):
            told.append(fact)

    scenario = Scenario(seed=seed, peers=peers, iterations=iterations, shards=peers, batch_s=0.02)
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(scenario, folder=Path(folder), on_fact=note, task=(task, data))
        fixed = {"task": task.name, "local_steps": 10, "evaluate": "full", "save_every": iterations}
        simulation.settings = simulation.settings.adopt({**fixed, **given})
        for player in simulation.players:
            simulation.start(player)
        if not simulation.run(deadline=LIMIT_S):
            raise SystemExit(f"seed {seed} came to no end")
        target = simulation.settings.target_accuracy
        simulation.close()
    return summed_up(seed, told, peers=peers, target=1.0 if target is None else target)


def summed_up(seed: int, told: list[Fact], *, peers: int, target: float) -> Trial:
    """What the facts of all peers say together."""
    accuracy = {fact.iteration: fact.correct / fact.seen for fact in told if isinstance(fact, Evaluated)}
    reached = min((iteration for iteration, value in accuracy.items() if value >= target), default=None)
    last = max(accuracy) if reached is None else reached
    sent: dict[str, float] = {}
    for fact in told:
        if isinstance(fact, IterationFinished) and fact.iteration <= last:
            for kind, count in fact.bytes_sent.items():
                sent[kind] = sent.get(kind, 0.0) + count / peers / 1e6
    lessons = sum(isinstance(fact, Distilled) and fact.iteration <= last and bool(fact.teachers) for fact in told)
    megabytes = {kind: round(count, 2) for kind, count in sent.items()}
    return Trial(seed, reached, round(accuracy[last], 4), megabytes, lessons / peers)


def value_of(text: str) -> object:
    """A number or true or false as TOML has them; anything else is a text."""
    try:
        return tomllib.loads(f"it = {text}")["it"]
    except tomllib.TOMLDecodeError:
        return text


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--peers", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--target", type=float, default=0.5)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the run")
    asked = parser.parse_args(arguments)
    pairs = [item.partition("=") for item in asked.set]
    given = {"target_accuracy": asked.target, **{name: value_of(value) for name, _, value in pairs}}
    task = load_task(asked.task)
    data = task.load(asked.data_dir)
    for seed in asked.seed or [1]:
        done = trial(seed, {**given, "seed": seed}, task, data, peers=asked.peers, iterations=asked.iterations)
        print(json.dumps(asdict(done)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
