"""What is learnt when only a share of the peers trains, or has its update averaged, in each iteration."""

from __future__ import annotations

from statistics import fmean

from reproduction.parts import NO_VALUE, Line, Panel, Plot, Section, Table, in_points, megabytes, percent, plural
from reproduction.results import Results, Summary, last_accuracy, mean_accuracies
from reproduction.runs import Run, swarm
from reproduction.sizes import Sizes

WANTED_ACCURACY = 0.9

Share = tuple[float, float]
"""Of the peers that update, and that aggregate."""


def runs(sizes: Sizes) -> list[Run]:
    return [
        swarm(
            _name(share, seed),
            sizes.participation,
            {"participation_update": share[0], "participation_aggregate": share[1], "seed": seed},
            needs_data=sizes.participation_needs_data,
        )
        for seed in sizes.participation_seeds
        for share in sizes.shares
    ]


def section(results: Results, sizes: Sizes) -> Section:
    found = {
        share: [
            result.summary
            for seed in sizes.participation_seeds
            if (result := results.get(_name(share, seed))) is not None and result.summary is not None
        ]
        for share in sizes.shares
    }
    return Section(
        answer=_answer(found, sizes),
        tables=[_table(found, sizes)],
        plots=[_plot(found)],
        notes=["Who takes part is drawn anew in each iteration, from the seed; the others receive the result."],
    )


def _name(share: Share, seed: int) -> str:
    return f"participation-{share[0]}-{share[1]}-{seed}"


def _answer(found: dict[Share, list[Summary]], sizes: Sizes) -> str:
    accuracies = {share: last_accuracy(summaries) for share, summaries in found.items()}
    of_all = accuracies.get((1.0, 1.0))
    if of_all is None or any(len(summaries) < len(sizes.participation_seeds) for summaries in found.values()):
        return ""
    others = {share: accuracy for share, accuracy in accuracies.items() if share != (1.0, 1.0) and accuracy is not None}
    worst = min(others, key=lambda share: others[share])
    spread = max(_spread(summaries) for summaries in found.values())
    told = "; ".join(f"{_words(share)} {in_points(accuracy - of_all)}" for share, accuracy in others.items())
    return (
        f"With everybody the accuracy at the end is {percent(of_all)}; with {_words(worst)} it is lowest, "
        f"{percent(others[worst])}. Points against everybody, mean of "
        f"{plural(len(sizes.participation_seeds), 'seed')}: {told}. Seeds "
        f"of the same shares differ by up to {100 * spread:.2f} points."
    )


def _spread(summaries: list[Summary]) -> float:
    last = [summary.accuracies()[-1][1] for summary in summaries if summary.accuracies()]
    return max(last, default=0.0) - min(last, default=0.0)


def _words(share: Share) -> str:
    update, aggregate = share
    if aggregate == 1.0:
        return f"{update:.0%} updating"
    return f"{aggregate:.0%} aggregating" if update == 1.0 else f"{update:.0%} updating and {aggregate:.0%} aggregating"


def _table(found: dict[Share, list[Summary]], sizes: Sizes) -> Table:
    rows = []
    for (update, aggregate), summaries in found.items():
        head = [f"{update:g}", f"{aggregate:g}"]
        if not summaries:
            rows.append([*head, *[NO_VALUE] * 4])
            continue
        last = [summary.accuracies()[-1][1] for summary in summaries if summary.accuracies()]
        reached = [summary.reached(WANTED_ACCURACY) for summary in summaries]
        until = [one[0] for one in reached if one is not None]
        sent = [sum(summary.bytes_sent_per_peer_per_iteration.values()) for summary in summaries]
        rows.append(
            [
                *head,
                percent(last_accuracy(summaries)),
                f"{percent(min(last))} to {percent(max(last))}" if last else NO_VALUE,
                f"{fmean(until):.1f}" if len(until) == len(reached) else "not reached",
                megabytes(fmean(sent)),
            ]
        )
    header = [
        "share that updates",
        "share that aggregates",
        "accuracy at the end",
        "range over seeds",
        f"iterations to {WANTED_ACCURACY:.0%}",
        "MB a peer and iteration",
    ]
    peers, iterations = sizes.participation["peers"], sizes.participation["iterations"]
    lead = f"{peers} peers, {iterations} iterations, accuracy on the full test set:"
    return Table(lead=lead, header=header, rows=rows)


def _plot(found: dict[Share, list[Summary]]) -> Plot:
    lines = [
        Line(
            label=f"{update:g} / {aggregate:g}",
            points=[(t, 100 * accuracy) for t, accuracy in mean_accuracies(summaries)],
            colour=colour,
        )
        for colour, ((update, aggregate), summaries) in enumerate(found.items())
        if summaries
    ]
    return Plot(
        name="participation",
        text="Accuracy against iterations, for shares of peers that update and that aggregate",
        panels=[
            Panel(
                title="Shares that update / aggregate, mean over seeds",
                x_label="iteration",
                y_label="test accuracy, %",
                lines=lines,
            )
        ],
    )
