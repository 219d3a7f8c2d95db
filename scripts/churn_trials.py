"""Runs local swarms with and without churn, and judges: did the others hold, and is the model as good?

python scripts/churn_trials.py --mode kill --peers 64 --seeds 5
runs, for each seed, a swarm whose peers are left in peace and one in which 20% of those that are in it are killed with
SIGKILL in the aggregation of every iteration and started again (`--mode dropout`: each is kept away from the
aggregation of an iteration with that probability). Prints a row a seed and exits with 0 only if everybody else finished
every iteration, nobody waited beyond a deadline, and the test loss at the end is, over all seeds, at most 2% higher.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from churn_verdict import Verdict, judge
from rich.console import Console

from marfl_peer.config import Settings
from marfl_peer.lab.churn.plan import NO_CHURN, Action, Chance, ChurnPlan, Event, Share
from marfl_peer.lab.swarm import run_swarm

TASK = "digits"
MAX_LOSS_GROWTH = 0.02
RESTART_AFTER_S = 0.5
SHOWN = 8
"""Complaints that are printed of a run."""

HEADER = (
    f"{'seed':>4}  {'struck':>6} {'amid':>4} {'again':>5}  {'finished':>11} {'missed':>6}  {'wait s':>7} {'of D_g':>7} "
    f"{'D_g hit':>7} {'iter s':>7} {'apart':>8}  {'loss':>8} {'in peace':>8} {'growth':>8} {'accuracy':>8}  verdict"
)


def plan_of(mode: str, share: float, seed: int) -> ChurnPlan:
    """What is done to the peers of one run, in every iteration."""
    if mode == "dropout":
        return ChurnPlan(seed=seed, events=(Event(action=Action.DROPOUT, peers=Chance(share), every=1),))
    kill = Event(action=Action.KILL, peers=Share(share), every=1, restart_after_s=RESTART_AFTER_S)
    return ChurnPlan(seed=seed, events=(kill,))


def run(plan: ChurnPlan, folder: Path, options: argparse.Namespace, seed: int) -> Verdict:
    """One swarm from start to verdict."""
    settings = Settings(
        task=TASK,
        iterations=options.iterations,
        local_steps=options.local_steps,
        group_size=options.group_size,
        lr=options.lr,
        seed=seed,
        shards=options.peers,
        state_dir=folder,
        wait_timeout_s=120.0,
        log_level="warning",
    )
    console = Console(file=io.StringIO(), width=120)
    run_swarm(settings, options.peers, summary=None, plain=True, churn=plan, environment=os.environ, console=console)
    (runs,) = [path for path in folder.iterdir() if path.is_dir()]
    return judge(runs, peers=options.peers, iterations=options.iterations, task=TASK)


def row(seed: int, verdict: Verdict, peaceful: Verdict) -> str:
    growth = verdict.loss / peaceful.loss - 1
    held = not verdict.complaints and not peaceful.complaints
    return (
        f"{seed:>4}  {verdict.struck:>6} {verdict.amid_aggregation:>4} {verdict.restarted:>5}  "
        f"{verdict.finished:>5}/{verdict.owed:<5} {verdict.missed_by_struck:>6}  {verdict.longest_wait_s:>7.2f} "
        f"{verdict.worst_ratio:>7.3f} {verdict.deadlines_reached:>7} {verdict.iteration_s:>7.2f} "
        f"{verdict.last_disagreement:>8.1e}  {verdict.loss:>8.4f} {peaceful.loss:>8.4f} {growth:>+8.2%} "
        f"{verdict.accuracy:>8.4f}  {'held' if held else 'FAILED'}"
    )


def complaints_of(name: str, verdict: Verdict) -> list[str]:
    more = len(verdict.complaints) - SHOWN
    return [
        *(f"       {name}: {complaint}" for complaint in verdict.complaints[:SHOWN]),
        *([f"       {name}: and {more} more"] if more > 0 else []),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="real swarms under churn, against the same in peace")
    parser.add_argument("--mode", choices=("kill", "dropout"), default="kill")
    parser.add_argument("--peers", type=int, default=64)
    parser.add_argument("--group-size", type=int, default=4)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--local-steps", type=int, default=40)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--keep", type=Path, help="keep the peers' folders below this one")
    options = parser.parse_args(arguments)
    failed = 0
    losses: list[tuple[float, float]] = []
    print(HEADER, flush=True)
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory(prefix="churn-") as temporary:
            folder = options.keep or Path(temporary)
            verdicts = []
            for name, plan in (("peace", NO_CHURN), (options.mode, plan_of(options.mode, options.share, seed))):
                place = folder / f"{name}-{seed}"
                place.mkdir(parents=True)
                verdicts.append(run(plan, place, options, seed))
        peaceful, verdict = verdicts
        print(row(seed, verdict, peaceful), flush=True)
        for line in [*complaints_of("in peace", peaceful), *complaints_of(options.mode, verdict)]:
            print(line, flush=True)
        failed += bool(peaceful.complaints or verdict.complaints)
        losses.append((verdict.loss, peaceful.loss))
    growth = fmean(loss for loss, _ in losses) / fmean(loss for _, loss in losses) - 1
    print(f"{options.seeds - failed} of {options.seeds} seeds held; test loss over all seeds {growth:+.2%}")
    return 1 if failed or not growth <= MAX_LOSS_GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
