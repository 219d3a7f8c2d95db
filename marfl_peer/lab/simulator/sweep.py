"""Many simulated runs, one after the other: which of them broke an invariant, and what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from marfl_peer.lab.simulator.report import Report, Violation
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario


@dataclass(slots=True)
class Sweep:
    """What came of the runs so far."""

    seeds_run: int = 0
    violations: list[Violation] = field(default_factory=list)
    coverage: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0
    virtual_s: float = 0.0
    was_interrupted: bool = False

    def add(self, report: Report) -> None:
        self.seeds_run += 1
        self.violations += report.violations
        self.coverage += report.coverage
        self.cpu_s += report.cpu_s
        self.virtual_s += report.virtual_s


def sweep(
    scenarios: Iterable[Scenario],
    *,
    after: Callable[[Sweep, Report], None],
    is_stopped: Callable[[], bool],
    play: Callable[[Scenario], Report] = run,
) -> Sweep:
    """Runs them in order, tells of each, and ends early between two of them when asked to. Torch keeps to one thread:
    models are small."""
    torch.set_num_threads(1)
    result = Sweep()
    for scenario in scenarios:
        if is_stopped():
            result.was_interrupted = True
            break
        report = play(scenario)
        result.add(report)
        after(result, report)
    return result
