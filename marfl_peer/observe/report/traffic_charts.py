"""How many bytes a peer sends as swarms grow, beside what the formulas of the schemes come to.

Knows no formula: whoever asks for the chart hands them in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from marfl_peer.observe.report.charts import Chart, Line, Panel, Point, Scale, Stroke, line_of
from marfl_peer.observe.report.runs import Run

Formulas = Callable[[int, int, int, bool], Mapping[str, float]]
"""Bytes that a peer sends in an iteration by scheme, of (peers, group size, bytes of what is averaged, whether that is
theta without momentum)."""
MOST_STEPS = 120
"""Numbers of peers between those of the runs, where formulas are drawn, too."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Runs whose points are one line: they differ in the number of peers."""

    aggregation: str
    exchange: str
    codec: str
    group_size: int
    churn: str

    def said(self, others: Sequence[_Kind]) -> str:
        """In the words in which it differs from the others."""
        words = {
            "aggregation": self.aggregation,
            "exchange": self.exchange,
            "codec": self.codec,
            "group_size": f"M = {self.group_size}",
            "churn": f"churn {self.churn}" if self.churn else "no churn",
        }
        differing = [text for name, text in words.items() if len({getattr(kind, name) for kind in others}) > 1]
        return ", ".join(["measured", *(text for text in differing if text)])


def bytes_by_peers(runs: Sequence[Run], formulas: Formulas) -> Chart | None:
    """None where all runs have as many peers, or none is known to average a vector of a size.

    Of runs that average vectors of different sizes those of the most frequent size are compared.
    """
    sizes = Counter(run.vector_bytes for run in runs if run.vector_bytes and run.group_size and run.bytes_of_a_peer)
    if not sizes:
        return None
    size = sizes.most_common(1)[0][0]
    compared = [(place, run) for place, run in enumerate(runs) if run.vector_bytes == size and run.group_size]
    numbers = sorted({run.peers for _, run in compared})
    if len(numbers) < 2 or size is None:
        return None
    is_theta = compared[0][1].settings.get("vector") == "theta"
    lines = _measured(compared)
    lines += _by_formulas(
        numbers, sorted({run.group_size for _, run in compared}), lambda n, group: formulas(n, group, size, is_theta)
    )
    return Chart(
        name="bytes-peers",
        title="Bytes of a peer as the swarm grows",
        meaning="Bytes that a peer writes to sockets in an iteration, on average over the run, against the number of "
        "peers; grey: what the formulas of the schemes come to for the tensors alone. Measured bytes hold control "
        "messages, DHT and the start, too, which weigh more where models are small.",
        x_label="peers N, logarithmic",
        x_scale=Scale.LOG_WHOLE,
        panels=(Panel(y_label="bytes a peer and iteration", y_scale=Scale.LOG_BYTES, lines=tuple(lines)),),
    )


def _measured(compared: Sequence[tuple[int, Run]]) -> list[Line]:
    points: dict[_Kind, list[Point]] = {}
    first: dict[_Kind, int] = {}
    for place, run in compared:
        kind = _Kind(run.aggregation, run.exchange, run.codec, run.group_size, run.churn_plan)
        points.setdefault(kind, []).append((float(run.peers), run.bytes_of_a_peer))
        first.setdefault(kind, place)
    kinds = list(points)
    return [line for kind in kinds for line in line_of(kind.said(kinds), sorted(points[kind]), first[kind])]


def _by_formulas(
    numbers: Sequence[int], group_sizes: Sequence[int], formulas: Callable[[int, int], Mapping[str, float]]
) -> list[Line]:
    """One line a scheme, and one for each group size where that matters to it."""
    stride = (numbers[-1] / numbers[0]) ** (1 / MOST_STEPS)
    between = {round(numbers[0] * stride**step) for step in range(MOST_STEPS)}
    labels: dict[tuple[str, tuple[Point, ...]], str] = {}
    for group_size in group_sizes:
        by_scheme: dict[str, list[Point]] = {}
        for number in sorted({*numbers, *between}):
            for scheme, sent in formulas(number, group_size).items():
                if sent > 0:
                    by_scheme.setdefault(scheme, []).append((float(number), sent))
        for scheme, points in by_scheme.items():
            key = (scheme, tuple(points))
            label = scheme if len(group_sizes) == 1 else f"{scheme}, M = {group_size}"
            labels[key] = scheme if key in labels else label
    return [line for (_, points), label in labels.items() for line in line_of(label, points, None, Stroke.THEORY)]
