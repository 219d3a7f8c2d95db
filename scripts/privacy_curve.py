"""Accuracy against epsilon: runs a local swarm for every noise multiplier, and prints a row of what it came to.

python scripts/privacy_curve.py --peers 16 --noise 0 0.1 0.2 0.5 1.0
prints a Markdown table. Epsilons are those that the peers told (Renyi), with those of the privacy loss distribution,
which are nearer to the truth, in brackets; accuracy is that of the last agreed model on the whole test set.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from marfl_peer.config import Settings
from marfl_peer.lab.swarm import run_swarm
from marfl_peer.learning.privacy.accountant import tight_epsilon

HEADER = (
    "| z | accuracy | epsilon against a group-mate | epsilon against an outsider |",
    "| --- | --- | --- | --- |",
)


def settings_of(options: argparse.Namespace, noise: float, folder: Path) -> Settings:
    """One run; `noise` 0 is the same run without differential privacy."""
    return Settings(
        task=options.task,
        iterations=options.iterations,
        group_size=options.group_size,
        local_steps=options.local_steps,
        batch_size=options.batch_size,
        seed=options.seed,
        shards=options.peers,
        dp_noise=noise,
        dp_clip=options.clip,
        dp_delta=options.delta,
        evaluate="full",
        evaluate_every=options.iterations,
        data_dir=options.data_dir,
        state_dir=folder,
        wait_timeout_s=600.0,
        log_level="warning",
    )


def run(options: argparse.Namespace, noise: float) -> dict[str, object]:
    """The last iteration of a swarm's summary."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        settings = settings_of(options, noise, Path(folder))
        console = Console(file=io.StringIO(), width=120)
        run_swarm(settings, options.peers, summary=summary, plain=True, environment=os.environ, console=console)
        last: dict[str, object] = json.loads(summary.read_text())["iterations"][-1]
        return last


def row(options: argparse.Namespace, noise: float, last: dict[str, object]) -> str:
    """One line of the table, of a run in which everybody took part in every iteration."""
    accuracy = last["test_accuracy_mean"]
    shown = "-" if not isinstance(accuracy, float) else f"{100 * accuracy:.1f} %"
    if not noise:
        return f"| 0 | {shown} | no bound | no bound |"
    cells = []
    for told, multiplier in (("epsilon_mate", noise), ("epsilon_outsider", noise * options.peers**0.5)):
        tight = tight_epsilon([(multiplier, options.iterations)], delta=options.delta)
        cells.append(f"{last[told]:.1f} ({tight:.1f})")
    return f"| {noise:g} | {shown} | {cells[0]} | {cells[1]} |"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.5, 1.0])
    made.add_argument("--task", default="digits")
    made.add_argument("--data-dir", type=Path, default=None)
    made.add_argument("--peers", type=int, default=16)
    made.add_argument("--group-size", type=int, default=4)
    made.add_argument("--iterations", type=int, default=30)
    made.add_argument("--local-steps", type=int, default=10)
    made.add_argument("--batch-size", type=int, default=32)
    made.add_argument("--clip", type=float, default=0.1)
    made.add_argument("--delta", type=float, default=1e-5)
    made.add_argument("--seed", type=int, default=0)
    return made


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    print("\n".join(HEADER), flush=True)
    for noise in options.noise:
        print(row(options, noise, run(options, noise)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
