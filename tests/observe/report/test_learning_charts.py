from __future__ import annotations

from marfl_peer.observe.report.charts import Scale, Stroke
from marfl_peer.observe.report.learning_charts import accuracy_by_bytes, accuracy_by_epsilon, accuracy_by_iteration


def test_accuracy_stands_over_bytes_of_all_peers_and_over_iterations(run, iteration) -> None:
    made = run([iteration(1, 0.4), iteration(2, None), iteration(3, 0.9)])
    by_bytes, by_iteration = accuracy_by_bytes([made], ["a"]), accuracy_by_iteration([made], ["a"])
    assert by_bytes is not None and by_iteration is not None
    assert [line.points for line in by_bytes.lines] == [((1000.0, 0.4), (3000.0, 0.9))]
    assert [line.points for line in by_iteration.lines] == [((1.0, 0.4), (3.0, 0.9))]
    assert by_bytes.x_scale is Scale.BYTES


def test_runs_that_sent_much_more_than_others_make_the_axis_logarithmic(run, iteration) -> None:
    cheap, dear = run(), run([iteration(1, bytes_sent={"tensor": 10**6})])
    chart = accuracy_by_bytes([cheap, dear], ["cheap", "dear"])
    assert chart is not None and chart.x_scale is Scale.LOG_BYTES and "logarithmic" in chart.x_label
    assert [(line.label, line.run) for line in chart.lines] == [("cheap", 0), ("dear", 1)]


def test_run_that_was_not_tested_is_left_out_and_keeps_the_colours_of_the_others(run, iteration) -> None:
    runs = [run([iteration(1, None)]), run()]
    for chart in (accuracy_by_bytes(runs, ["a", "b"]), accuracy_by_iteration(runs, ["a", "b"])):
        assert chart is not None
        assert [(line.label, line.run) for line in chart.lines] == [("b", 1)]
    assert accuracy_by_bytes(runs[:1], ["a"]) is None
    assert accuracy_by_iteration(runs[:1], ["a"]) is None


def test_epsilon_is_drawn_for_whom_it_is_known(run, iteration) -> None:
    private = run([iteration(t, 0.1 * t, epsilon_mate=2.0 * t, epsilon_outsider=1.0 * t) for t in (1, 2)])
    chart = accuracy_by_epsilon([run(), private], ["plain", "private"])
    assert chart is not None
    mate, outsider = chart.lines
    assert (mate.points, mate.run, mate.stroke) == (((2.0, 0.1), (4.0, 0.2)), 1, Stroke.MEASURED)
    assert (outsider.points, outsider.stroke) == (((1.0, 0.1), (2.0, 0.2)), Stroke.BESIDE)
    assert accuracy_by_epsilon([run()], ["plain"]) is None
