"""The page says what the figures say, also where that is no, or nothing."""

from __future__ import annotations

import base64
import importlib
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def module(name: str) -> ModuleType:
    return importlib.import_module(f"reproduction.{name}")


def small() -> Any:
    return module("sizes").SMALL


def declared(experiment: str) -> list[Any]:
    return list(module("registry").EXPERIMENTS[experiment].runs(small()))


def result(run: Any, **more: Any) -> Any:
    results = module("results")
    versions = results.Versions(marfl_peer="1.2", source="abc", torch="2", python="3.11", cpus=2)
    return results.Result(
        name=run.name,
        command=run.command,
        seed=run.seed,
        began="2030-01-02 03:04",
        wall_seconds=30.0,
        cpu_seconds=40.0,
        versions=versions,
        **more,
    )


def summary(
    accuracies: Sequence[float | None], *, peers: int = 16, sent: int = 1_600_000, **more: Mapping[str, Any]
) -> Any:
    """An iteration for each accuracy, in which all peers together send `sent` bytes of tensors."""
    results = module("results")
    rows = [
        results.Row(iteration=t, test_accuracy_mean=accuracy, bytes_sent={"tensor": sent}, seconds=1.0, **more)
        for t, accuracy in enumerate(accuracies, 1)
    ]
    return results.Summary(
        peers=peers,
        grid=(4, 4),
        iterations=tuple(rows),
        bytes_sent_per_peer_per_iteration={"tensor": sent / peers, "control": 0.0, "dht": 0.0},
        peers_started=peers,
        peers_finished=peers,
        peers_lost=0,
        wall_seconds=20.0,
    )


def section(experiment: str, found: Sequence[Any]) -> Any:
    """Of the small size."""
    return module("registry").EXPERIMENTS[experiment].section({one.name: one for one in found}, small())


def scaling_results(off: float = 1.0) -> list[Any]:
    """As by the formulas, times `off` for RDFL with 64 peers."""
    results, scaling = module("results"), module("experiments.scaling")
    found = []
    for run in declared("scaling"):
        mode = re.sub(r"scaling-(groups-of-\d|trained)-", "", run.name)
        formula = scaling.MODES[mode].formula
        if run.name.startswith("scaling-trained"):
            of_all = summary([0.5, 0.95], sent=round(16 * 4000 * formula(16, 4)))
            found.append(result(run, summary=of_all, parameters=1000))
            continue
        counts = []
        size = int(run.flags["vector_bytes"])
        for peers in map(int, run.flags["peers"].split(",")):
            group_size = int(run.flags["group_size"])
            wrong = off if (mode, peers) == ("rdfl", 64) else 1.0
            sent = {"tensor": size * formula(peers, group_size) * wrong, "control": 1e3, "dht": 2e3}
            counts.append(
                results.ScalingRun(
                    peers=peers,
                    group_size=group_size,
                    grid=(5, 5, 5),
                    iterations=2,
                    bytes_sent=sent,
                    bytes_sent_last_iteration=sent,
                )
            )
        found.append(result(run, scaling=results.Scaling(vector_bytes=size, runs=tuple(counts))))
    return found


def model(*values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def parity_results(*, fedavg: float = 0.9, other: float = 1.0) -> list[Any]:
    """MAR comes to 0.9; the other exact models have `other` where MAR's has 1."""
    found = []
    for run in declared("parity"):
        if run.keeps_model:
            mine = run.flags["aggregation"] == "mar"
            found.append(result(run, summary=summary([0.5]), parameters=2, model=model(2.0, 1.0 if mine else other)))
        else:
            accuracy = 0.9 if run.flags["aggregation"] == "mar" else fedavg
            found.append(result(run, summary=summary([0.5, None, None, accuracy])))
    return found


def news_results(*, mkd_sent: int, reached: bool = True) -> list[Any]:
    """50% in the third iteration without MKD, in the second with it."""
    found = []
    for run in declared("20news"):
        if "mkd" in run.name:
            found.append(result(run, summary=summary([0.3, 0.6 if reached else 0.4], sent=mkd_sent)))
        else:
            found.append(result(run, summary=summary([0.1, 0.4, 0.5, 0.6])))
    return found


def test_scaling_tells_the_ratios_and_the_farthest_from_its_formula() -> None:
    found = section("scaling", scaling_results())
    assert "With 125 peers RDFL sends 10.3 times and AR-FL 10.3 times the bytes of MAR-FL as published" in found.answer
    assert "against our butterfly it is 25.8 and 25.8 times" in found.answer
    assert "All bytes are within 2% of the formulas" in found.answer
    ratios, counts, trained = found.tables
    assert ratios.rows[-1] == ["125", "10.33", "25.83", "10.33", "25.83", "2.50"]
    assert [row[0] for row in counts.rows] == ["16"] * 8 + ["64"] * 8 + ["125"] * 8
    assert len(trained.rows) == 8
    assert list(trained.rows[0][4:]) == ["95.00%", "-", "2", "0.384"]


def test_scaling_says_so_when_bytes_are_not_those_of_the_formula() -> None:
    answer = section("scaling", scaling_results(off=1.05)).answer
    assert "Not all bytes are within 2% of the formulas: the farthest is +5.0%, RDFL with 64 peers." in answer


def test_parity_holds_when_differences_are_small_and_models_equal() -> None:
    found = section("parity", parity_results(fedavg=0.898))
    assert found.answer.startswith("Yes: ")
    assert "+0.20 points (iid) and +0.20 points (dirichlet:1.0)" in found.answer
    assert "The exact schemes give the same model to float rounding: weights differ by 0 of" in found.answer
    assert found.tables[0].rows[0] == ["iid", "1", "4", "90.00%", "89.80%", "+0.20"]
    assert found.tables[0].rows[3] == ["iid", "mean", "", "", "", "**+0.20**"]


def test_parity_does_not_hold_when_they_are_not() -> None:
    answer = section("parity", parity_results(fedavg=0.91, other=1.5)).answer
    assert answer.startswith("No: ")
    assert "-1.00 points" in answer
    assert "do not give the same model: weights differ by 2.5e-01 of the largest weight at most." in answer


def test_parity_compares_at_the_last_iteration_that_both_tested() -> None:
    found = parity_results()
    found[0] = result(declared("parity")[0], summary=summary([0.5, 0.7]))
    assert section("parity", found).tables[0].rows[0] == ["iid", "1", "1", "50.00%", "50.00%", "+0.00"]


@pytest.mark.parametrize(
    ("mkd_sent", "verdict", "ratio"),
    [
        (800_000, "Yes: to 50% MKD takes less than half of the bytes", "3.00"),
        (1_600_000, "Less than claimed: to 50% MKD takes fewer bytes, but not half of them", "1.50"),
        (3_200_000, "No: to 50% MKD does not take fewer bytes", "0.75"),
    ],
)
def test_distillation_is_judged_by_bytes_to_half_of_the_test_set(mkd_sent: int, verdict: str, ratio: str) -> None:
    found = section("20news", news_results(mkd_sent=mkd_sent))
    assert found.answer.startswith(verdict)
    assert f"MKD, K = 6, int8: {ratio}" in found.answer
    assert found.tables[0].rows[0] == ["without MKD", "1", "3", "0.3", "1.00", "60.00%"]


def test_distillation_that_does_not_get_there_saves_nothing() -> None:
    found = section("20news", news_results(mkd_sent=1, reached=False))
    assert found.answer.startswith("No: ")
    assert "MKD, K = 6, int8: 50% was not reached in each run" in found.answer
    assert found.tables[0].rows[-4][2:5] == ["not reached", "-", "-"]


def dropout_results(struck: float) -> list[Any]:
    counts = {"groups_complete": 3, "groups_partial": 1, "disagreement": 0.25, "peers_skipped": 2}
    return [
        result(run, summary=summary([0.5, struck if "churn" in run.flags else 0.9], **counts))
        for run in declared("dropout")
    ]


@pytest.mark.parametrize(
    ("struck", "verdict"), [(0.895, "Hardly anything for MAR."), (0.8, "10.0 points of accuracy for MAR.")]
)
def test_absences_cost_what_the_accuracies_say(struck: float, verdict: str) -> None:
    found = section("dropout", dropout_results(struck))
    assert found.answer.startswith(verdict)
    absent = found.tables[0].rows[1]
    assert absent[:2] == ["MAR", "20%"]
    assert absent[4:7] == ["6 / 2", "2.5e-01", "1.00"]
    assert absent[7:] == ["4", "0"]


def test_privacy_tells_accuracy_at_both_epsilons() -> None:
    found = []
    for run in declared("privacy"):
        noise = float(run.flags["dp_noise"])
        spent = {"epsilon_mate": 8 / noise, "epsilon_outsider": 2 / noise} if noise else {}
        found.append(result(run, summary=summary([None, 0.9 - noise / 2], **spent)))
    told = section("privacy", found)
    assert "90.00% without noise" in told.answer
    assert "40.00% at 8 against a group-mate and 2 against an outsider" in told.answer
    assert told.tables[0].rows[0] == ["0", "no bound", "no bound", "90.00%", "90.00% to 90.00%"]
    (panel,) = told.plots[0].panels
    assert panel.level == 90.0
    assert [line.label for line in panel.lines] == ["group-mate", "outsider"]
    assert panel.lines[0].points[0] == (8.0, 40.0)


def test_participation_names_the_worst_share() -> None:
    shares = {"1.0": 0.05, "0.5": 0.02, "0.25": 0.0}
    found = [
        result(
            run,
            summary=summary(
                [0.8 + shares[run.flags["participation_update"]] + 2 * shares[run.flags["participation_aggregate"]]]
            ),
        )
        for run in declared("participation")
    ]
    told = section("participation", found)
    assert "With everybody the accuracy at the end is 95.00%; with 25% aggregating it is lowest, 85.00%" in told.answer
    assert told.answer.endswith("Seeds of the same shares differ by up to 0.00 points.")
    assert told.tables[0].rows[0] == ["1", "1", "95.00%", "95.00% to 95.00%", "1.0", "0.1"]


@pytest.mark.parametrize("name", ["scaling", "parity", "dropout", "20news", "privacy", "participation"])
def test_nothing_and_any_part_of_the_runs_make_a_section(name: str) -> None:
    empty = section(name, [])
    assert empty.answer == ""
    assert all(plot.is_empty for plot in empty.plots)
    whole = [
        one
        for one in (*scaling_results(), *parity_results(), *news_results(mkd_sent=1), *dropout_results(0.5))
        if one.name in {run.name for run in declared(name)}
    ]
    for left_out in whole:
        section(name, [one for one in whole if one is not left_out])
        section(name, [left_out])


def whole_page(found: Sequence[Any]) -> str:
    page = module("page")
    chapters = page.chapters({one.name: one for one in found}, small())
    return str(page.page(chapters, small(), images="images", results="results/small"))


def test_page_has_answers_tables_commands_and_versions() -> None:
    text = whole_page([*parity_results(), *news_results(mkd_sent=800_000)])
    assert "| [Parity with FedAvg](#parity-with-fedavg) | Yes: MAR's accuracy less FedAvg's" in text
    assert "| [Scaling](#scaling) | Not measured. |" in text
    assert "37 runs, 2030-01-02, 18 minutes in all, 25 minutes of processor time:" in text
    assert "- 37 runs: marfl-peer 1.2 (digest of its source abc), torch 2, Python 3.11, 2 cores" in text
    assert "![Accuracy on 20 Newsgroups" in text
    assert "](images/results-20news.svg)" in text
    assert "results-scaling.svg" not in text, "there is nothing to draw"
    assert re.search(r"(?m)^    marfl-peer swarm .* --seed SEED .*    # SEED: 1, 2, 3$", text)
    assert "With the paper's settings: `scripts/reproduce --size full --only 20news`" in text
    assert text.endswith("\n")


def test_page_names_what_failed_and_what_was_not_run() -> None:
    run, *others = declared("20news")
    failed = result(run, exit_code=2, failure="exit code 2: Error: No such option `--x` | <b>")
    text = whole_page([failed, *(one for one in news_results(mkd_sent=1) if one.name == others[0].name)])
    assert "Not measured in full: 1 of 15 runs have figures." in text
    assert "- `news-plain-1` failed: exit code 2: Error: No such option --x  b" in text
    assert f"- `{others[1].name}` was not run." in text


def test_page_of_nothing_says_so() -> None:
    text = whole_page([])
    assert "Nothing has been measured yet." in text
    assert text.count("| --- |") == 1, "a table of all questions alone"
    assert text.count("Not measured.") == 2 * 6


def test_accuracies_are_averaged_where_all_runs_tested() -> None:
    results = module("results")
    two = [summary([0.2, None, 0.6]), summary([0.4, 0.5])]
    assert results.mean_accuracies(two) == [(1, pytest.approx(0.3))]
    assert results.last_accuracy(two) == pytest.approx(0.55)
    assert (results.mean_accuracies([]), results.last_accuracy([])) == ([], None)


def test_numbers_are_written_with_the_digits_that_count() -> None:
    parts = module("parts")
    assert [parts.megabytes(value) for value in (1234, 57_594_336, 14_398_584_000, None)] == [
        "0.00123",
        "57.6",
        "14,399",
        "-",
    ]
    assert [parts.percent(0.94253), parts.percent(None), parts.in_points(-0.0012)] == ["94.25%", "-", "-0.12"]
    assert [parts.scientific(value) for value in (0.0, 1.25e-7, None)] == ["0", "1.2e-07", "-"]


def test_same_plot_gives_the_same_file(tmp_path: Path) -> None:
    drawing = module("drawing")
    (plot,) = section("scaling", scaling_results()).plots
    for name in ("a", "b"):
        drawing.draw(plot, tmp_path / f"{name}.svg")
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes()
    assert drawn.count(b'id="axes_') == 2
