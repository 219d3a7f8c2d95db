"""`make soak`: simulated runs with random faults until enough seeds held, then what they covered.

Exit code 0 only if no invariant was broken, the average run was cheap enough and everything was covered.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from marfl_peer.lab.simulator import coverage
from marfl_peer.lab.simulator.faults.drawing import RARE_FROM
from marfl_peer.lab.simulator.soak import Result, Totals, soak

MAX_CPU_S = 2.0


@click.command()
@click.option("--first", default=1, show_default=True, help="the first seed")
@click.option("--count", default=10_000, show_default=True, help="how many seeds")
@click.option("--rare", default=1_000, show_default=True, help="how many seeds more, aimed at steps seldom come to")
@click.option("--workers", default=os.cpu_count() or 1, show_default=True, help="processes")
@click.option("--log", default=Path("soak.jsonl"), type=click.Path(path_type=Path), show_default=True, help="results")
def main(first: int, count: int, rare: int, workers: int, log: Path) -> None:
    """Runs COUNT seeds and RARE ones; those that LOG has from the same code are not run again."""
    seeds = [*range(first, first + count), *range(RARE_FROM, RARE_FROM + rare)]
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("seeds", total=len(seeds))

        def told(result: Result, totals: Totals) -> None:
            progress.update(bar, completed=totals.seeds, description=f"seeds, {len(totals.broken)} broken")
            for invariant, message in result.violations:
                console.print(f"seed {result.seed} breaks {invariant}: {message}", soft_wrap=True)
            if not console.is_terminal and totals.seeds % 500 == 0:
                console.print(f"{totals.seeds} of {len(seeds)} seeds, {len(totals.broken)} broken")

        try:
            totals = soak(seeds, log=log, workers=workers, on_result=told)
        except KeyboardInterrupt:
            console.print(f"interrupted: {log} has what was run, and the same command goes on from there")
            sys.exit(130)
    sys.exit(0 if _account(console, totals, first=first) else 1)


def _account(console: Console, totals: Totals, *, first: int) -> bool:
    average_s = totals.cpu_s / max(totals.seeds, 1)
    peers = totals.peers / max(totals.seeds, 1)
    console.print(
        f"{totals.seeds} seeds from {first} and from {RARE_FROM} on, {peers:.1f} peers and {average_s:.2f} CPU seconds "
        f"a seed, {totals.virtual_s / 3600:.1f} virtual hours; {len(totals.broken)} seeds broke an invariant"
    )
    for result in totals.broken[:20]:
        console.print(f"  marfl-peer simulate --seed {result.seed} --faults random   # {result.violations[0][0]}")
    _print_coverage(console, totals.coverage)
    return not totals.broken and average_s <= MAX_CPU_S and not coverage.missing(totals.coverage)


def _print_coverage(console: Console, counts: Mapping[str, int]) -> None:
    (at_a_time, moments), *steps = coverage.fault_rows(counts)
    events = Table("phase and event, or fault", "times", title=f"each at least {coverage.WANTED} times")
    for pair, times in coverage.pair_rows(counts):
        events.add_row(pair, _cell(times))
    for kind, hits in zip(coverage.KINDS, moments, strict=True):
        if hits is not None:
            events.add_row(f"{kind} {at_a_time}", _cell(hits))
    console.print(events)
    shown = [coverage.KINDS.index(kind) for kind in coverage.AT_MESSAGES]  # what comes at no step needs no column
    faults = Table("step", *coverage.AT_MESSAGES, title=f"faults, each at least {coverage.WANTED} times")
    for step, cells in steps:
        faults.add_row(step, *(_cell(cells[index]) for index in shown))
    console.print(faults)
    missing = coverage.missing(counts)
    console.print(f"{len(missing)} of what is wanted happened too rarely" if missing else "everything was covered")


def _cell(times: int | None) -> str:
    if times is None:
        return ""
    return str(times) if times >= coverage.WANTED else f"{times} NO"


if __name__ == "__main__":
    main()
