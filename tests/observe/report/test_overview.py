from __future__ import annotations

import pytest

from marfl_peer.observe.report.overview import overview_of, percent, size


def cells(overview, title: str) -> tuple[str, ...]:
    return next(column.cells for column in overview.columns if column.title == title)


def test_what_runs_share_is_said_once_and_results_always(run, iteration) -> None:
    overview = overview_of([run(), run(codec="int8", peers_lost=1)], ["a", "b"])
    assert dict(overview.common) == {
        "peers": "4",
        "group size": "2",
        "grid": "2×2",
        "task": "digits",
        "aggregation": "mar, butterfly",
    }
    assert overview.labels == ("a", "b")
    assert cells(overview, "codec") == ("float32", "int8")
    assert cells(overview, "accuracy") == ("80.00 %", "80.00 %")
    assert cells(overview, "peers finished / lost") == ("4 / 0", "4 / 1")
    assert cells(overview, "groups complete / partial") == ("4 / 0", "4 / 0")
    assert cells(overview, "sent a peer and iteration") == ("250 bytes", "250 bytes")


def test_one_run_has_all_of_it_in_columns(run) -> None:
    overview = overview_of([run()], ["a"])
    assert overview.common == ()
    assert cells(overview, "task") == ("digits",)


def test_price_of_an_accuracy_is_told_where_a_run_reached_it(run, iteration) -> None:
    goal = {"target_accuracy": 0.7}
    runs = [run([iteration(1, 0.6), iteration(2, 0.75)], settings=goal), run([iteration(1, 0.6)])]
    overview = overview_of(runs, ["a", "b"])
    assert cells(overview, "sent until 50 %") == ("1.0 kB (it. 1)", "1.0 kB (it. 1)")
    assert cells(overview, "sent until 70 %") == ("2.0 kB (it. 2)", "–")
    assert "sent until 90 %" not in {column.title for column in overview.columns}


@pytest.mark.parametrize(
    ("seconds", "command", "text"),
    [
        (3.04, "marfl-peer swarm", "3.0 s"),
        (125.0, "marfl-peer swarm", "2:05 min"),
        (2.5, "marfl-peer simulate --seed 1", "2.5 s (virtual)"),
    ],
)
def test_time_is_that_of_a_clock_or_virtual(run, seconds: float, command: str, text: str) -> None:
    assert cells(overview_of([run(wall_seconds=seconds, command=command)], ["a"]), "time") == (text,)


def test_journals_of_some_peers_are_said_to_be_that(run) -> None:
    assert cells(overview_of([run(heard=1)], ["a"]), "peers") == ("1 of 4",)


def test_what_nobody_knows_has_no_column(run) -> None:
    titles = {column.title for column in overview_of([run(codec="", group_size=0)], ["a"]).columns}
    assert titles.isdisjoint({"codec", "group size", "churn", "residual after each round", "residual in theory"})


def test_residuals_stand_beside_theory(run, iteration) -> None:
    overview = overview_of([run([iteration(1, mixing_residual=(0.3, 2e-12))])], ["a"])
    assert cells(overview, "residual after each round") == ("3.0e-01, 2.0e-12",)
    assert cells(overview, "residual in theory") == ("3.3e-01, 0",)


def test_figures_are_written_for_people() -> None:
    assert (percent(0.93125), percent(0.9, digits=0), percent(None)) == ("93.12 %", "90 %", "–")
    assert (size(1536), size(0)) == ("1.5 kB", "–")
