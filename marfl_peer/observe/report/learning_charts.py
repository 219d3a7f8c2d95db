"""What runs learned, and what it cost: accuracy against iterations, bytes and epsilon (arXiv 2512.05234, figures)."""

from __future__ import annotations

from collections.abc import Sequence

from marfl_peer.observe.report.charts import Chart, Line, Panel, Point, Scale, Stroke, line_of, spread
from marfl_peer.observe.report.runs import Run

WIDE = 4.0
"""From so many times the bytes on, runs are compared on a logarithmic axis."""


def accuracy_by_bytes(runs: Sequence[Run], labels: Sequence[str]) -> Chart | None:
    """Against the bytes that all peers had sent; None where nobody tested, or bytes are unknown."""
    lines: list[Line] = []
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        until = run.bytes_until
        points = [(float(until[row.iteration]), reached) for row, reached in run.accuracies if until[row.iteration]]
        lines += line_of(label, points, place)
    if not lines:
        return None
    is_wide = spread([line.points[-1][0] for line in lines]) >= WIDE
    return Chart(
        name="accuracy-bytes",
        title="Accuracy against bytes sent",
        meaning="Test accuracy of the swarm against all bytes that all peers had written to sockets by then: models, "
        "control messages, DHT and downloads of late peers. Further left is cheaper.",
        x_label="bytes sent by all peers" + (", logarithmic" if is_wide else ""),
        x_scale=Scale.LOG_BYTES if is_wide else Scale.BYTES,
        panels=(Panel(y_label="test accuracy", y_scale=Scale.PERCENT, lines=tuple(lines)),),
    )


def accuracy_by_iteration(runs: Sequence[Run], labels: Sequence[str]) -> Chart | None:
    """None where nobody tested."""
    lines: list[Line] = []
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        lines += line_of(label, [(float(row.iteration), reached) for row, reached in run.accuracies], place)
    if not lines:
        return None
    return Chart(
        name="accuracy-iterations",
        title="Accuracy against iterations",
        meaning="Test accuracy of the swarm's model after each iteration: what the same number of local updates came "
        "to, whatever was sent for it.",
        x_label="iteration",
        x_scale=Scale.WHOLE,
        panels=(Panel(y_label="test accuracy", y_scale=Scale.PERCENT, lines=tuple(lines)),),
    )


def accuracy_by_epsilon(runs: Sequence[Run], labels: Sequence[str]) -> Chart | None:
    """None where no run was differentially private."""
    lines: list[Line] = []
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        mates: list[Point] = []
        outsiders: list[Point] = []
        for row, reached in run.accuracies:
            if row.epsilon_mate:
                mates.append((row.epsilon_mate, reached))
            if row.epsilon_outsider:
                outsiders.append((row.epsilon_outsider, reached))
        lines += line_of(f"{label}: for a group-mate", mates, place)
        lines += line_of(f"{label}: for others", outsiders, place, Stroke.BESIDE)
    if not lines:
        return None
    epsilons = [epsilon for line in lines for epsilon, _ in line.points]
    return Chart(
        name="accuracy-epsilon",
        title="Accuracy against privacy spent",
        meaning="Test accuracy against the epsilon of differential privacy that was spent by then, for a member of the "
        "own group, who sees most (solid), and for everybody else (dashed). Further left is more private.",
        x_label="epsilon",
        x_scale=Scale.LOG if spread(epsilons) >= WIDE else Scale.NUMBER,
        panels=(Panel(y_label="test accuracy", y_scale=Scale.PERCENT, lines=tuple(lines)),),
    )
