"""20 Newsgroups with and without distillation (MKD): bytes and iterations until half of the test set is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from reproduction.parts import NO_VALUE, Line, Panel, Plot, Section, Table, megabytes, percent
from reproduction.results import Results, Summary
from reproduction.runs import Run, swarm
from reproduction.sizes import Sizes

WANTED_ACCURACY = 0.5
CLAIMED_RATIO = 2.0
"""Bytes without MKD against those with it, at least, by the paper."""


LESSON_BATCHES = 8
"""Mini-batches that a peer distils on in a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """`flags` are what differs from plain averaging. A variant that does not distil is there to compare with."""

    name: str
    label: str
    flags: dict[str, object]

    @property
    def distils(self) -> bool:
        return "mkd_iterations" in self.flags


def variants(sizes: Sizes) -> list[Variant]:
    """Plain averaging first; last the same number of steps an iteration without teachers."""
    distilling = [
        Variant(
            name=f"mkd{iterations}-{codec}",
            label=f"MKD, K = {iterations}, {codec}",
            flags={"mkd_iterations": iterations, "mkd_codec": codec},
        )
        for iterations in sizes.mkd_iterations
        for codec in sizes.mkd_codecs
    ]
    for iterations in sizes.mkd_in_turns:
        flags = {"mkd_iterations": iterations, "mkd_codec": "int4", "mkd_ranking": "turns"}
        label = f"MKD, K = {iterations}, int4, mates in turns"
        distilling.append(Variant(name=f"mkd{iterations}-int4-turns", label=label, flags=flags))
    steps = int(str(sizes.news["local_steps"])) + sizes.news_rounds * LESSON_BATCHES
    control = Variant(name=f"steps{steps}", label=f"without MKD, B = {steps}", flags={"local_steps": steps})
    return [Variant(name="plain", label="without MKD", flags={}), *distilling, control]


def runs(sizes: Sizes) -> list[Run]:
    return [
        swarm(_name(variant, seed), sizes.news, {"seed": seed}, variant.flags, needs_data=True)
        for seed in sizes.news_seeds
        for variant in variants(sizes)
    ]


def section(results: Results, sizes: Sizes) -> Section:
    found = {
        variant.name: {
            seed: result.summary
            for seed in sizes.news_seeds
            if (result := results.get(_name(variant, seed))) is not None and result.summary is not None
        }
        for variant in variants(sizes)
    }
    return Section(
        answer=_answer(found, sizes),
        tables=[_table(found, sizes)],
        plots=[_plot(found, sizes)],
        notes=[
            "Bytes are all that a peer sent: tensors, control and DHT, from the first iteration on. Texts are encoded "
            "as hashed words, not by the paper's transformer; its learning rate does not fit them.",
            "A peer that distils takes up to 8 steps more in every round. The last row takes as many steps without "
            "teachers, in every iteration.",
            "All runs stop one iteration after the accuracy was reached.",
        ],
    )


def _name(variant: Variant, seed: int) -> str:
    return f"news-{variant.name}-{seed}"


def _bytes_of_peer(summary: Summary) -> float | None:
    """Until the accuracy is reached; None where it is not."""
    reached = summary.reached(WANTED_ACCURACY)
    return None if reached is None else reached[1] / summary.peers


def _mean_ratio(plain: dict[int, Summary], other: dict[int, Summary], sizes: Sizes) -> float | None:
    """Bytes without MKD against with it, mean of paired seeds; None where a pair is not there."""
    ratios = []
    for seed in sizes.news_seeds:
        if seed not in plain or seed not in other:
            return None
        without, with_mkd = _bytes_of_peer(plain[seed]), _bytes_of_peer(other[seed])
        if without is None or with_mkd is None:
            return None
        ratios.append(without / with_mkd)
    return fmean(ratios)


def _answer(found: dict[str, dict[int, Summary]], sizes: Sizes) -> str:
    plain, *others = variants(sizes)
    if any(len(summaries) < len(sizes.news_seeds) for summaries in found.values()):
        return ""
    ratios = {variant.label: _mean_ratio(found[plain.name], found[variant.name], sizes) for variant in others}
    known = {label: ratio for label, ratio in ratios.items() if ratio is not None}
    unreached = [label for label in ratios if label not in known]
    told = [f"{label}: {ratio:.2f}" for label, ratio in known.items()]
    told += [f"{label}: {WANTED_ACCURACY:.0%} was not reached in each run" for label in unreached]
    best = max((known[variant.label] for variant in others if variant.distils and variant.label in known), default=0.0)
    if best >= CLAIMED_RATIO:
        verdict = f"Yes: to {WANTED_ACCURACY:.0%} MKD takes less than half of the bytes"
    elif best > 1:
        verdict = f"Less than claimed: to {WANTED_ACCURACY:.0%} MKD takes fewer bytes, but not half of them"
    else:
        verdict = f"No: to {WANTED_ACCURACY:.0%} MKD does not take fewer bytes"
    seeds = f"mean of {len(sizes.news_seeds)} paired seeds"
    return (
        f"{verdict}. Bytes without it against with it, {seeds}: {'; '.join(told)}. The paper claims over "
        f"{CLAIMED_RATIO:.0f}."
    )


def _table(found: dict[str, dict[int, Summary]], sizes: Sizes) -> Table:
    plain, rows = found["plain"], []
    for variant in variants(sizes):
        for seed in sizes.news_seeds:
            summary = found[variant.name].get(seed)
            if summary is None:
                rows.append([variant.label, str(seed), *[NO_VALUE] * 4])
                continue
            reached, sent, accuracies = summary.reached(WANTED_ACCURACY), _bytes_of_peer(summary), summary.accuracies()
            without = _bytes_of_peer(plain[seed]) if seed in plain else None
            ratio = NO_VALUE if without is None or sent is None else f"{without / sent:.2f}"
            rows.append(
                [
                    variant.label,
                    str(seed),
                    "not reached" if reached is None else str(reached[0]),
                    megabytes(sent),
                    ratio,
                    percent(max((accuracy for _, accuracy in accuracies), default=None)),
                ]
            )
    header = ["", "seed", f"iterations to {WANTED_ACCURACY:.0%}", "MB a peer to it", "without / with", "best accuracy"]
    return Table(lead=f"{sizes.news['peers']} peers, accuracy on the full test set:", header=header, rows=rows)


def _plot(found: dict[str, dict[int, Summary]], sizes: Sizes) -> Plot:
    by_bytes, by_iteration = [], []
    for colour, variant in enumerate(variants(sizes)):
        for number, summary in enumerate(found[variant.name].values()):
            label = variant.label if number == 0 else ""
            by_bytes.append(Line(label=label, points=_curve(summary), colour=colour))
            points = [(t, 100 * accuracy) for t, accuracy in summary.accuracies()]
            by_iteration.append(Line(label=label, points=points, colour=colour))
    level = 100 * WANTED_ACCURACY
    y_label = "test accuracy, %"
    return Plot(
        name="20news",
        text="Accuracy on 20 Newsgroups against bytes and against iterations, with and without distillation",
        panels=[
            Panel(title="Against bytes", x_label="MB sent by a peer", y_label=y_label, lines=by_bytes, level=level),
            Panel(title="Against iterations", x_label="iteration", y_label=y_label, lines=by_iteration, level=level),
        ],
    )


def _curve(summary: Summary) -> Sequence[tuple[float, float]]:
    rows = zip(summary.iterations, summary.bytes_until(), strict=True)
    return [
        (sent / summary.peers / 1e6, 100 * row.test_accuracy_mean)
        for row, sent in rows
        if row.test_accuracy_mean is not None
    ]
