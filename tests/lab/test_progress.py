import dataclasses
import io

import pytest
from rich.console import Console

from marfl_peer.config import Settings
from marfl_peer.lab.churn.steps import ChurnCounts
from marfl_peer.lab.progress import LiveView, PlainView, Snapshot, choose_view, iteration_line, panel
from marfl_peer.lab.tally import IterationRow


def row(iteration: int, accuracy: float | None, *, skipped: int = 0) -> IterationRow:
    return IterationRow(
        iteration=iteration,
        test_accuracy_mean=accuracy,
        train_loss_mean=0.5,
        disagreement=2e-8,
        seconds=0.25,
        bytes_sent={"tensor": 16_000_000, "control": 16_000, "dht": 0, "state": 0},
        groups_complete=8,
        groups_partial=1,
        peers_alive=16,
        peers_skipped=skipped,
    )


START = Snapshot(
    settings=Settings(run_id="berries"),
    peers=16,
    grid=None,
    phase="starting peers",
    elapsed_s=1.0,
    progress=0.0,
    rows=(),
    current=None,
    alive=5,
    finished=0,
    lost=0,
)
MIDDLE = dataclasses.replace(
    START,
    grid=(4, 4),
    phase="training",
    elapsed_s=65.0,
    progress=0.4,
    rows=(row(1, 0.5), row(2, 0.9)),
    current=row(3, None),
    alive=15,
    lost=1,
    pss_mib_mean=9.12,
)


def drawn(snapshot: Snapshot) -> str:
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(panel(snapshot))
    return console.export_text()


def test_panel_before_the_first_iteration_is_whole() -> None:
    text = drawn(START)
    for part in ("berries", "digits", "16 peers", "no grid yet", "iteration 0/30", "starting peers", "0:01"):
        assert part in text


def test_panel_in_the_middle_shows_the_newest_known_figures() -> None:
    text = drawn(MIDDLE)
    for part in (
        *("4×4 grid", "iteration 3/30", "90.00 %", "▁█", "0.5000", "0.25 s", "2.0e-08", "1.0 MB", "1.0 kB"),
        *("complete · 1 partial", "15", "1 lost", "9.1 MiB each", "1:05", "training"),
    ):
        assert part in text


def test_panel_lines_are_equally_long() -> None:
    assert len({len(line) for line in drawn(MIDDLE).rstrip("\n").split("\n")}) == 1


def test_panel_after_the_last_iteration_keeps_its_number() -> None:
    assert "iteration 2/30" in drawn(dataclasses.replace(MIDDLE, current=None))


def test_iteration_line_says_it_all() -> None:
    line = iteration_line(row(2, 0.9, skipped=2), 30)
    assert line.startswith("iteration 2/30  accuracy 90.00 %  loss 0.5000  groups 8 complete 1 partial")
    assert "peers 16 (2 skipped)" in line and "1.1 MB tensor" in line


def test_private_run_shows_its_epsilons_in_panel_and_line() -> None:
    rows = [dataclasses.replace(one, epsilon_mate=1761.8, epsilon_outsider=157.94) for one in MIDDLE.rows]
    spent = "1762 against a group-mate, 157.9 against an outsider"
    text = drawn(dataclasses.replace(MIDDLE, rows=rows, current=None))
    assert spent in text
    assert len({len(line) for line in text.rstrip("\n").split("\n")}) == 1
    assert iteration_line(rows[0], 30).endswith(f"epsilon {spent}")
    assert "epsilon" not in drawn(MIDDLE)


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=20)


def test_plain_view_prints_every_phase_and_iteration_once() -> None:
    console = plain_console()
    with PlainView(console) as view:
        for snapshot in (START, START, dataclasses.replace(MIDDLE, rows=MIDDLE.rows[:1]), MIDDLE, MIDDLE):
            view.update(snapshot)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line[:15] for line in lines] == ["1.0 s: starting", "iteration 1/30 ", "65.0 s: trainin", "iteration 2/30 "]


def test_live_view_draws_and_wipes() -> None:
    file = io.StringIO()
    with LiveView(Console(file=file, force_terminal=True, width=100, _environ={"TERM": "xterm"})) as view:
        view.update(MIDDLE)
        assert "90.00 %" in file.getvalue()
    assert file.getvalue().endswith("\x1b[1A\x1b[2K")


@pytest.mark.parametrize(
    ("terminal", "plain", "kind"), [(True, False, LiveView), (True, True, PlainView), (False, False, PlainView)]
)
def test_view_is_live_only_on_a_terminal(terminal: bool, plain: bool, kind: type) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    assert type(choose_view(console, plain=plain)) is kind


def test_panel_and_lines_tell_of_churn_where_there_is_some() -> None:
    assert "churn" not in drawn(MIDDLE)
    churned = dataclasses.replace(MIDDLE, churn=ChurnCounts(killed=3, restarted=2))
    assert "3 killed, 2 restarted" in drawn(churned)
    console = Console(record=True, width=100, file=io.StringIO())
    view = PlainView(console)
    view.update(dataclasses.replace(churned, rows=(row(1, 0.5),)))
    view.update(churned)
    assert console.export_text().count("churn so far: 3 killed, 2 restarted") == 1
