"""`make soak-exhaustive`: a crash of every peer at every boundary between two messages, in groups of 2 to 5 and in 2x2.

Exit code 0 only if no invariant was broken.
"""

from __future__ import annotations

import multiprocessing
import os
import sys

import click
from rich.console import Console
from rich.progress import track

from marfl_peer.lab.simulator.faults.exhaustive import exhaustive
from marfl_peer.lab.simulator.report import Report
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.soak import prepare_worker


def _run(scenario: Scenario) -> tuple[Scenario, Report]:
    return scenario, run(scenario)


@click.command()
@click.option("--stride", default=1, show_default=True, help="run every so many only")
@click.option("--workers", default=os.cpu_count() or 1, show_default=True, help="processes")
def main(stride: int, workers: int) -> None:
    """Runs them all, and tells each that broke an invariant with the fault that did it."""
    console = Console()
    scenarios = [*exhaustive(stride=stride)]
    broken, cpu_s, fired = 0, 0.0, 0
    with multiprocessing.get_context("spawn").Pool(workers, prepare_worker) as pool:
        results = pool.imap(_run, scenarios, chunksize=8)
        for scenario, report in track(results, total=len(scenarios), console=console, disable=not console.is_terminal):
            cpu_s += report.cpu_s
            fired += bool(report.coverage)
            if report.violations:
                broken += 1
                fault = "; ".join(str(one) for one in scenario.plan.faults)
                shape = f"{scenario.peers} peers in groups of {scenario.group_size}"
                first = report.violations[0]
                console.print(f"{shape}, {fault}: breaks {first.invariant}: {first.message}", soft_wrap=True)
    console.print(
        f"{len(scenarios)} crashes planned, {fired} came, {cpu_s / max(len(scenarios), 1):.2f} CPU seconds each; "
        f"{broken} broke an invariant"
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
