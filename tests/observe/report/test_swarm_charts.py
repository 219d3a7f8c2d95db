from __future__ import annotations

from marfl_peer.observe.report.charts import Stroke
from marfl_peer.observe.report.swarm_charts import FLOOR, churn, mixing, mixing_by_iteration


def test_churn_tells_who_was_through_who_was_missing_and_what_was_partial(run, iteration) -> None:
    made = run([iteration(1), iteration(2, peers_alive=3, peers_skipped=1, groups_partial=2)])
    chart = churn([made], ["a"])
    assert chart is not None
    assert [[point for line in panel.lines for point in line.points] for panel in chart.panels] == [
        [(1.0, 4.0), (2.0, 2.0)],
        [(1.0, 0.0), (2.0, 2.0)],
        [(1.0, 0.0), (2.0, 2.0)],
    ]


def test_calm_runs_have_no_chart_of_churn(run, iteration) -> None:
    assert churn([run()], ["a"]) is None
    assert churn([run(peers_lost=1)], ["a"]) is not None
    heard = run([iteration(1, peers_alive=1)], heard=1)
    assert churn([heard], ["one of four journals"]) is None


def test_mixing_is_the_median_beside_theory(run, iteration) -> None:
    rows = [iteration(t, mixing_residual=(left, 0.0)) for t, left in enumerate((0.2, 0.4, 0.3), 1)]
    chart = mixing([run(), run(rows)], ["untraced", "traced"])
    assert chart is not None
    measured, theory = chart.lines
    assert (measured.label, measured.run) == ("traced", 1)
    assert measured.points == ((0.0, 1.0), (1.0, 0.3), (2.0, FLOOR))
    assert (theory.stroke, theory.run) == (Stroke.THEORY, None)
    assert theory.points == ((0.0, 1.0), (1.0, 1 / 3)), "what is 0 has no place on the axis"
    assert "2×2 grid" in theory.label


def test_theory_is_not_drawn_for_rounds_that_the_grid_does_not_have(run, iteration) -> None:
    chart = mixing([run([iteration(1, mixing_residual=(0.5, 0.2, 0.1))])], ["a"])
    assert chart is not None and [line.stroke for line in chart.lines] == [Stroke.MEASURED]


def test_what_is_left_is_told_for_each_iteration(run, iteration) -> None:
    rows = [iteration(1, mixing_residual=(0.5, 0.1)), iteration(2), iteration(3, mixing_residual=(0.5, 1e-3))]
    chart = mixing_by_iteration([run(rows)], ["a"])
    assert chart is not None and chart.lines[0].points == ((1.0, 0.1), (3.0, 1e-3))


def test_runs_without_a_trace_have_no_charts_of_mixing(run) -> None:
    assert mixing([run()], ["a"]) is None
    assert mixing_by_iteration([run()], ["a"]) is None
