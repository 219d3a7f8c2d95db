"""From places where runs were left to a page: simulated runs, journals, and what is no run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.lab.reporting import WITHOUT_CHARTS, Pen, charts_of, read_runs, write_report
from marfl_peer.lab.simulator.account import Account
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.summary import write_summary
from marfl_peer.observe.journal import Journal
from marfl_peer.observe.report.labels import labels_of
from marfl_peer.observe.report.page import Picture

PEN = Pen(
    picture=lambda chart: Picture(chart=chart, light=chart.name.encode(), dark=b"dark"),
    png=lambda chart: chart.title.encode(),
)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs' folders, with the summaries of simulated swarms."""
    folder = tmp_path_factory.mktemp("runs")
    for peers in (2, 4):
        scenario = Scenario(seed=5, peers=peers, group_size=2, iterations=3, trace_mixing=True)
        account = Account(scenario)
        account.run(scenario)
        (folder / f"run-{peers}").mkdir()
        write_summary(account.summary(f"marfl-peer simulate --peers {peers}", ""), folder / f"run-{peers}/summary.json")
    return folder


def test_simulated_runs_are_told_drawn_and_written(simulated: Path, tmp_path: Path) -> None:
    written = write_report([simulated], out=tmp_path / "a" / "b", title="Two runs", pen=PEN)
    assert written.overview.labels == ("2 peers", "4 peers")
    assert written.page == tmp_path / "a" / "b" / "report.html"
    assert [path.name for path in written.pictures] == [
        *("accuracy-bytes.png", "accuracy-iterations.png", "bytes-peers.png"),
        *("mixing.png", "mixing-iterations.png"),
    ]
    assert all(path.read_bytes() for path in written.pictures)
    page = written.page.read_text()
    assert "<title>Two runs</title>" in page and "marfl-peer simulate --peers 4" in page
    assert page.count("<figure") == 5
    assert written.left_out == ()


def test_formulas_stand_beside_measured_bytes(simulated: Path) -> None:
    runs, _ = read_runs([simulated])
    chart = next(chart for chart in charts_of(runs, labels_of(runs)) if chart.name == "bytes-peers")
    ends = {line.label: line.points[-1] for line in chart.lines}
    size = runs[1].vector_bytes
    assert size == 120, "15 parameters with their momentum"
    assert ends["RDFL, AR-FL"] == (4.0, 3 * size)
    assert ends["MAR-FL as published"] == (4.0, 2 * size)
    assert ends["butterfly"] == (4.0, 2 * size), "in pairs as much as all-gather"
    assert ends["FedAvg"] == (4.0, size)
    assert ends["measured"] == (4.0, runs[1].bytes_of_a_peer)


def test_residual_of_a_simulated_run_ends_where_theory_does(simulated: Path) -> None:
    runs, _ = read_runs([simulated / "run-4"])
    assert all(row.mixing_residual is not None and len(row.mixing_residual) == 2 for row in runs[0].iterations)
    assert all(
        row.mixing_residual[-1] < 1e-9 < row.mixing_residual[0] for row in runs[0].iterations if row.mixing_residual
    )


def test_place_is_a_file_a_folder_or_a_folder_of_folders_and_counts_once(simulated: Path) -> None:
    file = simulated / "run-4" / "summary.json"
    by_file, _ = read_runs([file])
    assert by_file[0].name == "summary.json"
    both, _ = read_runs([simulated / "run-4", simulated, simulated / "run-2"])
    assert [(run.name, run.peers) for run in both] == [("run-4", 4), ("run-2", 2)]


def test_folder_without_a_summary_is_read_from_its_journals(told, tmp_path: Path) -> None:
    with Journal(tmp_path / "state" / "journal.jsonl") as journal:
        for fact in (told.started(), told.view(1, 2, (2,)), told.finished(1, tensor=7), told.evaluated(1, 1, 2)):
            journal(fact)
    (run,), _ = read_runs([tmp_path / "state"])
    assert (run.name, run.peers, run.heard, run.final_accuracy) == ("state", 2, 1, 0.5)
    written = write_report([tmp_path / "state"], out=tmp_path / "out", title="t", pen=PEN)
    assert [path.name for path in written.pictures][:2] == ["accuracy-bytes.png", "accuracy-iterations.png"]


def test_run_beside_others_that_never_began_is_left_out_and_named(simulated: Path, told, tmp_path: Path) -> None:
    (tmp_path / "good").symlink_to(simulated / "run-2")
    with Journal(tmp_path / "stillborn" / "peer-000" / "journal.jsonl") as journal:
        journal(told.started())
    runs, left_out = read_runs([tmp_path])
    assert [run.peers for run in runs] == [2]
    assert len(left_out) == 1 and "stillborn" in left_out[0] and "no peer finished an iteration" in left_out[0]
    with pytest.raises(ConfigError, match="no peer finished an iteration"):
        read_runs([tmp_path / "stillborn"])


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def broken(folder: Path) -> Path:
    (folder / "run").mkdir()
    (folder / "run" / "summary.json").write_text('{"run_id": ')
    return folder / "run"


def other_json(folder: Path) -> Path:
    (folder / "bench.json").write_text(json.dumps({"members": 4, "codec": "int8"}))
    return folder / "bench.json"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "missing", "missing: does not exist: name a summary or the folder of a run"),
        (empty, "empty: holds no run: name a summary, the folder of a run"),
        (broken, "run/summary.json: is not JSON"),
        (other_json, "bench.json: is not the summary of a run: Object missing required field"),
    ],
)
def test_place_without_a_run_is_named_with_the_reason(make: Callable[[Path], Path], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        write_report([make(tmp_path)], out=tmp_path / "out", title="t", pen=None)
    assert says in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_folder_of_nothing_but_runs_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    broken(tmp_path)
    with pytest.raises(ConfigError, match=r"holds no run that can be told of; .*is not JSON"):
        read_runs([tmp_path])


def test_without_a_pen_tables_remain_and_the_page_says_what_is_missing(simulated: Path, tmp_path: Path) -> None:
    written = write_report([simulated], out=tmp_path, title="t", pen=None)
    assert written.pictures == ()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    page = written.page.read_text()
    assert "pip install" in page and WITHOUT_CHARTS.split(":")[0] in page and "<figure" not in page


def test_out_that_cannot_be_written_is_named(simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--out: .*file.*: cannot be written"):
        write_report([simulated], out=tmp_path / "file", title="t", pen=None)
