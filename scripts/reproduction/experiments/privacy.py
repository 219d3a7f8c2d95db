"""What differential privacy costs: accuracy against the epsilon that holds against a group-mate, and an outsider."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from reproduction.parts import NO_VALUE, Line, Panel, Plot, Section, Table, percent, plural
from reproduction.results import Results, Row, Summary
from reproduction.runs import Run, swarm
from reproduction.sizes import Sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Of one noise multiplier. Epsilons are the highest of any seed, None without noise."""

    noise: float
    accuracies: tuple[float, ...]
    mate: float | None
    outsider: float | None


def runs(sizes: Sizes) -> list[Run]:
    return [
        swarm(_name(noise, seed), sizes.privacy, {"dp_noise": noise, "seed": seed}, needs_data=sizes.privacy_needs_data)
        for seed in sizes.privacy_seeds
        for noise in sizes.noises
    ]


def section(results: Results, sizes: Sizes) -> Section:
    levels = [level for noise in sizes.noises if (level := _level(results, sizes, noise)) is not None]
    return Section(
        answer=_answer(levels, sizes),
        tables=[_table(levels, sizes)],
        plots=[_plot(levels)],
        notes=[
            "Epsilon is for one peer's whole data, after the last iteration: against a group-mate, who sees each "
            "update that a peer releases, and against an outsider, who sees the agreed models alone.",
            "Accuracy is that of the last iteration, not of the best.",
        ],
    )


def _name(noise: float, seed: int) -> str:
    return f"privacy-{noise}-{seed}"


def _level(results: Results, sizes: Sizes, noise: float) -> Level | None:
    summaries = [
        result.summary
        for seed in sizes.privacy_seeds
        if (result := results.get(_name(noise, seed))) is not None and result.summary is not None
    ]
    accuracies = tuple(summary.accuracies()[-1][1] for summary in summaries if summary.accuracies())
    if not accuracies:
        return None
    mate = max((row.epsilon_mate for row in _rows(summaries) if row.epsilon_mate is not None), default=None)
    outsider = max((row.epsilon_outsider for row in _rows(summaries) if row.epsilon_outsider is not None), default=None)
    return Level(noise=noise, accuracies=accuracies, mate=mate, outsider=outsider)


def _rows(summaries: list[Summary]) -> list[Row]:
    return [row for summary in summaries for row in summary.iterations]


def _answer(levels: list[Level], sizes: Sizes) -> str:
    private = [level for level in levels if level.mate is not None]
    if len(levels) < len(sizes.noises) or not private:
        return ""
    without = [f"{percent(fmean(level.accuracies))} without noise" for level in levels if level.mate is None]
    told = [
        f"{percent(fmean(level.accuracies))} at {_epsilon(level.mate)} against a group-mate and "
        f"{_epsilon(level.outsider)} against an outsider"
        for level in private
    ]
    seeds = plural(len(sizes.privacy_seeds), "seed")
    return f"Accuracy at the end, mean of {seeds}: {'; '.join([*without, *told])}."


def _epsilon(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _table(levels: list[Level], sizes: Sizes) -> Table:
    rows = [
        [
            f"{level.noise:g}",
            "no bound" if level.mate is None else _epsilon(level.mate),
            "no bound" if level.outsider is None else _epsilon(level.outsider),
            percent(fmean(level.accuracies)),
            f"{percent(min(level.accuracies))} to {percent(max(level.accuracies))}",
        ]
        for level in levels
    ]
    header = ["noise multiplier z", "epsilon, group-mate", "epsilon, outsider", "accuracy, mean", "range over seeds"]
    peers, iterations = sizes.privacy["peers"], sizes.privacy["iterations"]
    lead = f"{peers} peers, {iterations} iterations, accuracy on the full test set:"
    return Table(lead=lead, header=header, rows=rows)


def _plot(levels: list[Level]) -> Plot:
    mates = [(level.mate, 100 * fmean(level.accuracies)) for level in levels if level.mate is not None]
    outsiders = [(level.outsider, 100 * fmean(level.accuracies)) for level in levels if level.outsider is not None]
    lines = [
        Line(label=label, points=sorted(points), colour=colour)
        for colour, (label, points) in enumerate((("group-mate", mates), ("outsider", outsiders)))
        if points
    ]
    without = next((100 * fmean(level.accuracies) for level in levels if level.mate is None), None)
    return Plot(
        name="privacy",
        text="Accuracy against epsilon, as a group-mate and as an outsider see it",
        panels=[
            Panel(
                title="Accuracy against epsilon" + ("" if without is None else " (line: without noise)"),
                x_label="epsilon at the end",
                y_label="test accuracy, %",
                lines=lines,
                log_x=True,
                level=without,
            )
        ],
    )
