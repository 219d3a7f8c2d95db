"""The table of runs: what each was, what it reached and what that took, as texts for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.filesize import decimal

from marfl_peer.observe.report.residuals import expected_residuals, median_residuals
from marfl_peer.observe.report.runs import Run

UNKNOWN = "–"
MILESTONES = (0.5, 0.9)
"""Accuracies whose price is told; a run's own target comes besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One figure of all runs, in their order. `is_setting`: what a run was told, rather than what came of it."""

    title: str
    cells: tuple[str, ...]
    is_setting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """`common` are settings that all of several runs share; `columns` all else. Of one run all are columns."""

    labels: tuple[str, ...]
    common: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]


def overview_of(runs: Sequence[Run], labels: Sequence[str]) -> Overview:
    """The table of `runs`; columns of which nothing is known are left out."""
    columns = [column for column in _columns(runs) if set(column.cells) != {UNKNOWN}]
    common = [column for column in columns if column.is_setting and len(runs) > 1 and len(set(column.cells)) == 1]
    return Overview(
        labels=tuple(labels),
        common=tuple((column.title, column.cells[0]) for column in common),
        columns=tuple(column for column in columns if column not in common),
    )


def _columns(runs: Sequence[Run]) -> list[Column]:
    settings = {
        "peers": [_peers(run) for run in runs],
        "group size": [str(run.group_size) if run.group_size else UNKNOWN for run in runs],
        "grid": ["×".join(map(str, run.grid)) or UNKNOWN for run in runs],
        "task": [run.task or UNKNOWN for run in runs],
        "aggregation": [", ".join(filter(None, (run.aggregation, run.exchange))) or UNKNOWN for run in runs],
        "codec": [run.codec or UNKNOWN for run in runs],
        "churn": [run.churn_plan or UNKNOWN for run in runs],
    }
    results = {
        "iterations": [str(run.iterations[-1].iteration) for run in runs],
        "accuracy": [percent(run.final_accuracy) for run in runs],
        "sent a peer and iteration": [size(run.bytes_of_a_peer) for run in runs],
        "sent in all": [size(run.bytes_of_all) for run in runs],
        **{f"sent until {percent(goal, digits=0)}": [_price(run, goal) for run in runs] for goal in _goals(runs)},
        "time": [_duration(run) for run in runs],
        "groups complete / partial": [_groups(run) for run in runs],
        "peers finished / lost": [f"{run.peers_finished} / {run.peers_lost}" for run in runs],
        "residual after each round": [_residuals(median_residuals(run.iterations)) for run in runs],
        "residual in theory": [_theory(run) for run in runs],
    }
    return [
        *(Column(title=title, cells=tuple(cells), is_setting=True) for title, cells in settings.items()),
        *(Column(title=title, cells=tuple(cells)) for title, cells in results.items()),
    ]


def _peers(run: Run) -> str:
    return str(run.peers) if run.heard is None else f"{run.heard} of {run.peers}"


def _goals(runs: Sequence[Run]) -> list[float]:
    """Those that a run reached, and not before anything was learned."""
    targets = {run.settings.get("target_accuracy") for run in runs}
    goals = {*MILESTONES, *(target for target in targets if isinstance(target, float))}
    return sorted(goal for goal in goals if any(run.reached(goal) for run in runs))


def _price(run: Run, goal: float) -> str:
    row = run.reached(goal)
    return UNKNOWN if row is None else f"{size(run.bytes_until[row.iteration])} (it. {row.iteration})"


def _groups(run: Run) -> str:
    complete, partial = (sum(getattr(row, name) for row in run.iterations) for name in _GROUPS)
    return f"{complete} / {partial}"


_GROUPS = ("groups_complete", "groups_partial")


def _residuals(left: Sequence[float]) -> str:
    return ", ".join(f"{one:.1e}" if one else "0" for one in left) or UNKNOWN


def _theory(run: Run) -> str:
    """Only beside what was measured."""
    return _residuals(expected_residuals(run.grid)) if median_residuals(run.iterations) else UNKNOWN


def _duration(run: Run) -> str:
    minutes, seconds = divmod(run.wall_seconds, 60)
    text = f"{int(minutes)}:{int(seconds):02d} min" if minutes else f"{seconds:.1f} s"
    return f"{text} (virtual)" if run.is_simulated else text


def percent(share: float | None, *, digits: int = 2) -> str:
    """0.9312 -> "93.12 %"."""
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %"


def size(count: float) -> str:
    """1536 -> "1.5 kB"; nothing is unknown, because a run sends something."""
    return decimal(round(count)) if count > 0 else UNKNOWN
