"""What befell the peers of runs, and how their values came together round by round."""

from __future__ import annotations

from collections.abc import Sequence

from marfl_peer.observe.report.charts import Chart, Line, Panel, Point, Scale, Stroke, line_of
from marfl_peer.observe.report.residuals import expected_residuals, median_residuals
from marfl_peer.observe.report.runs import Run

FLOOR = 1e-18
"""A residual of 0 has no place on a logarithmic axis; float rounding leaves more than this."""


def churn(runs: Sequence[Run], labels: Sequence[str]) -> Chart | None:
    """Peers and groups by iteration; None where in no run anything was amiss."""
    if all(_is_calm(run) for run in runs):
        return None
    alive: list[Line] = []
    away: list[Line] = []
    partial: list[Line] = []
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        rows = [(float(row.iteration), row) for row in run.iterations]
        alive += line_of(label, [(x, float(row.peers_finished)) for x, row in rows], place)
        away += line_of(label, [(x, float(_expected(run) - row.peers_finished)) for x, row in rows], place)
        partial += line_of(label, [(x, float(row.groups_partial)) for x, row in rows], place)
    return Chart(
        name="churn",
        title="Peers and groups under churn",
        meaning="Peers that finished each iteration, those of the start that did not (dead, late or not back yet), and "
        "groups that went on without some of their members.",
        x_label="iteration",
        x_scale=Scale.WHOLE,
        panels=(
            Panel(y_label="peers through", y_scale=Scale.WHOLE, lines=tuple(alive)),
            Panel(y_label="peers missing", y_scale=Scale.WHOLE, lines=tuple(away)),
            Panel(y_label="groups partial", y_scale=Scale.WHOLE, lines=tuple(partial)),
        ),
    )


def _expected(run: Run) -> int:
    """How many peers the figures could be of."""
    return run.peers if run.heard is None else run.heard


def _is_calm(run: Run) -> bool:
    is_whole = all(row.peers_finished == _expected(run) and not row.groups_partial for row in run.iterations)
    return is_whole and not run.peers_lost


def mixing(runs: Sequence[Run], labels: Sequence[str]) -> Chart | None:
    """The residual after each round, the median of all iterations, and what is left of it after the last round of each
    iteration; None where no run was traced."""
    by_round: list[Line] = []
    theories: dict[tuple[Point, ...], str] = {}
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        after = median_residuals(run.iterations)
        if not after:
            continue
        by_round += line_of(label, [(float(g), max(left, FLOOR)) for g, left in enumerate([1.0, *after])], place)
        expected = expected_residuals(run.grid)
        points = tuple((float(g), left) for g, left in enumerate([1.0, *expected]) if left > 0)
        if len(expected) == len(after) and len(points) > 1:
            theories.setdefault(points, f"theory, {'×'.join(map(str, run.grid))} grid; then 0")
    if not by_round:
        return None
    lines = [line for points, label in theories.items() for line in line_of(label, points, None, Stroke.THEORY)]
    return Chart(
        name="mixing",
        title="How values come together, round by round",
        meaning="Mean squared distance of the peers' models from the sample-weighted mean of all that was brought, "
        "relative to what it was before round 1: the median of all iterations. On a full grid theory has 0 after the "
        "last round; what is seen there is float rounding, or the codec's. More is left where peers were lost.",
        x_label="rounds",
        x_scale=Scale.WHOLE,
        panels=(Panel(y_label="residual variance", y_scale=Scale.LOG, lines=(*by_round, *lines)),),
    )


def mixing_by_iteration(runs: Sequence[Run], labels: Sequence[str]) -> Chart | None:
    """What is left after the last round of each iteration; None where no run was traced."""
    lines: list[Line] = []
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        left = [
            (float(row.iteration), max(row.mixing_residual[-1], FLOOR)) for row in run.iterations if row.mixing_residual
        ]
        lines += line_of(label, left, place)
    if not lines:
        return None
    return Chart(
        name="mixing-iterations",
        title="What is left after the last round",
        meaning="The residual variance after the last round of each iteration: it rises where peers or whole lines "
        "were lost, and the next iteration makes up for it.",
        x_label="iteration",
        x_scale=Scale.WHOLE,
        panels=(Panel(y_label="residual variance", y_scale=Scale.LOG, lines=tuple(lines)),),
    )
