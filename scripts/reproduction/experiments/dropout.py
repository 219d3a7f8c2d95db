"""What it costs that peers are absent from the aggregation: each with a probability, anew in every iteration."""

from __future__ import annotations

from statistics import median

from reproduction.parts import NO_VALUE, Line, Panel, Plot, Section, Table, in_points, percent, plural, scientific
from reproduction.results import Results, Summary, last_accuracy, mean_accuracies
from reproduction.runs import Run, swarm
from reproduction.sizes import Sizes

SCHEMES = {"mar": "MAR", "fedavg": "FedAvg", "random": "random groups"}
SMALL_LOSS = 0.01
"""Of accuracy, that is not worth a word."""


def runs(sizes: Sizes) -> list[Run]:
    return [
        swarm(
            _name(scheme, is_struck, seed),
            sizes.dropout,
            {"aggregation": scheme, "seed": seed},
            {"churn": f"dropout:{sizes.dropout_share}"} if is_struck else {},
            needs_data=sizes.dropout_needs_data,
        )
        for seed in sizes.dropout_seeds
        for scheme in SCHEMES
        for is_struck in (False, True)
    ]


def section(results: Results, sizes: Sizes) -> Section:
    found = {
        (scheme, is_struck): [
            result.summary
            for seed in sizes.dropout_seeds
            if (result := results.get(_name(scheme, is_struck, seed))) is not None and result.summary is not None
        ]
        for scheme in SCHEMES
        for is_struck in (False, True)
    }
    return Section(
        answer=_answer(found, sizes),
        tables=[_table(found, sizes)],
        plots=[_plot(found, sizes)],
        notes=[
            "An absent peer is stopped when its iteration begins and goes on when all others are through with it. "
            "Nobody is told: each absence is found out by silence, which the seconds of an iteration show.",
            "Disagreement is the largest distance of a peer's model from the mean of all, relative to it, after an "
            "iteration; of those absent from it too.",
        ],
    )


def _name(scheme: str, is_struck: bool, seed: int) -> str:
    return f"dropout-{scheme}-{'absent' if is_struck else 'peace'}-{seed}"


def _answer(found: dict[tuple[str, bool], list[Summary]], sizes: Sizes) -> str:
    accuracies = {key: last_accuracy(summaries) for key, summaries in found.items()}
    told, lost = [], 0.0
    for scheme, label in SCHEMES.items():
        struck, peace = accuracies[scheme, True], accuracies[scheme, False]
        if struck is None or peace is None:
            return ""
        if scheme == "mar":
            lost = peace - struck
        told.append(f"{label} {in_points(struck - peace)} points (to {percent(struck)})")
    seeds = plural(len(sizes.dropout_seeds), "seed")
    verdict = "Hardly anything" if lost <= SMALL_LOSS else f"{100 * lost:.1f} points of accuracy"
    return (
        f"{verdict} for MAR. With {sizes.dropout_share:.0%} absent from each aggregation the accuracy at the end "
        f"changes by: {'; '.join(told)}; {seeds}."
    )


def _table(found: dict[tuple[str, bool], list[Summary]], sizes: Sizes) -> Table:
    rows = []
    for (scheme, is_struck), summaries in found.items():
        head = [SCHEMES[scheme], f"{sizes.dropout_share:.0%}" if is_struck else "none"]
        if not summaries:
            rows.append([*head, *[NO_VALUE] * 7])
            continue
        iterations = [row for summary in summaries for row in summary.iterations]
        complete = sum(row.groups_complete for row in iterations)
        partial = sum(row.groups_partial for row in iterations)
        apart = [row.disagreement for row in iterations if row.disagreement is not None]
        seconds = [row.seconds for row in iterations if row.seconds is not None]
        rows.append(
            [
                *head,
                str(sum(summary.churn.get("dropped_out", 0) for summary in summaries)),
                percent(last_accuracy(summaries)),
                f"{complete} / {partial}",
                scientific(max(apart, default=None)),
                f"{median(seconds):.2f}" if seconds else NO_VALUE,
                str(sum(row.peers_skipped for row in iterations)),
                str(sum(summary.peers_lost for summary in summaries)),
            ]
        )
    header = [
        "scheme",
        "absent",
        "absences",
        "accuracy at the end",
        "groups complete / partial",
        "disagreement, worst",
        "seconds an iteration",
        "iterations skipped",
        "peers lost",
    ]
    peers = sizes.dropout["peers"]
    return Table(lead=f"{peers} peers, accuracy on the full test set:", header=header, rows=rows)


def _plot(found: dict[tuple[str, bool], list[Summary]], sizes: Sizes) -> Plot:
    panels = []
    for is_struck, title in (
        (False, "Nobody absent"),
        (True, f"{sizes.dropout_share:.0%} absent from each aggregation"),
    ):
        lines = [
            Line(
                label=label,
                points=[(t, 100 * accuracy) for t, accuracy in mean_accuracies(found[scheme, is_struck])],
                colour=colour,
            )
            for colour, (scheme, label) in enumerate(SCHEMES.items())
            if found[scheme, is_struck]
        ]
        panels.append(Panel(title=title, x_label="iteration", y_label="test accuracy, %", lines=lines))
    return Plot(name="dropout", text="Accuracy against iterations, with and without absences", panels=panels)
