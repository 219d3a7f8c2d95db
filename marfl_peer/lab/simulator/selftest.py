"""Are the checkers any good? Every planted bug is looked for in seed after seed, until a checker reports it.

A seed counts only if the product without the bug runs clean on it. Knows nothing of single bugs or checkers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from marfl_peer.lab.simulator.faults.drawing import draw
from marfl_peer.lab.simulator.planted.catalogue import CATALOGUE
from marfl_peer.lab.simulator.planted.planting import Planted
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario

MOST_SEEDS = 500
Draw = Callable[[int], Scenario]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`invariant` is the one that caught the bug, None where nothing did in `seeds` seeds."""

    bug: str
    invariant: str | None
    seed: int | None
    seeds: int
    message: str
    cpu_s: float


def hunt(bug: Planted, seeds: Iterable[int], *, draw: Draw = draw) -> Finding:
    """Plants the bug in seed after seed. Reports of other invariants than it may break do not count."""
    started, tried = time.process_time(), 0
    for seed in seeds:
        tried += 1
        with bug.planted():
            report = run(draw(seed))
        caught = next((one for one in report.violations if one.invariant in bug.breaks), None)
        if caught is not None and not run(draw(seed)).violations:
            spent = time.process_time() - started
            return Finding(
                bug=bug.name, invariant=caught.invariant, seed=seed, seeds=tried, message=caught.message, cpu_s=spent
            )
    spent = time.process_time() - started
    return Finding(bug=bug.name, invariant=None, seed=None, seeds=tried, message="", cpu_s=spent)


def hunt_all(
    *,
    most_seeds: int = MOST_SEEDS,
    processes: int = 2,
    names: Sequence[str] = (),
    on_finding: Callable[[Finding], None] | None = None,
) -> list[Finding]:
    """All planted bugs, or those named, several at a time; in the order of the catalogue."""
    chosen = [bug.name for bug in CATALOGUE if not names or bug.name in names]
    findings: list[Finding] = []
    # Not forked: torch has threads already.
    with ProcessPoolExecutor(max_workers=processes, mp_context=get_context("spawn")) as pool:
        for finding in pool.map(_hunt_named, chosen, [most_seeds] * len(chosen)):
            findings.append(finding)
            if on_finding is not None:
                on_finding(finding)
    return findings


def _hunt_named(name: str, most_seeds: int) -> Finding:
    bug = next(bug for bug in CATALOGUE if bug.name == name)
    return hunt(bug, range(1, most_seeds + 1))
