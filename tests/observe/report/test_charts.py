from __future__ import annotations

import pytest

from marfl_peer.observe.report.charts import Chart, Panel, Scale, line_of, spread


def test_line_without_points_is_none() -> None:
    assert line_of("a", [], 0) == ()
    (line,) = line_of("a", [(1.0, 2.0)], 0)
    assert (line.label, line.points, line.run) == ("a", ((1.0, 2.0),), 0)


def test_lines_of_a_chart_are_those_of_its_panels() -> None:
    lines = (*line_of("a", [(1.0, 2.0)], 0), *line_of("b", [(1.0, 2.0)], 1))
    panels = tuple(Panel(y_label="y", y_scale=Scale.NUMBER, lines=(line,)) for line in lines)
    chart = Chart(name="n", title="t", meaning="m", x_label="x", x_scale=Scale.NUMBER, panels=panels)
    assert [line.label for line in chart.lines] == ["a", "b"]


@pytest.mark.parametrize(("values", "ratio"), [([], 1.0), ([0.0], 1.0), ([0.0, 2.0, 8.0], 4.0)])
def test_spread_is_of_positive_values(values: list[float], ratio: float) -> None:
    assert spread(values) == ratio


def test_scales_know_whether_they_are_logarithmic() -> None:
    assert {scale for scale in Scale if scale.is_log} == {Scale.LOG, Scale.LOG_BYTES, Scale.LOG_WHOLE}
