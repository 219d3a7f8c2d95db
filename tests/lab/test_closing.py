import io
from pathlib import Path

import pytest
from rich.console import Console

from marfl_peer.config import Settings
from marfl_peer.facts import PrivacySpent
from marfl_peer.lab.closing import EXPLAINED_LOSSES, closing_table, ending, losses
from marfl_peer.lab.memory import MIB, Pss
from marfl_peer.lab.summary import PeerCounts, summarise
from marfl_peer.lab.tally import Tally
from marfl_peer.lab.warden import Life


def printed(tally: Tally, *, pss: Pss | None, startup_s: float | None) -> str:
    counts = PeerCounts(started=4, finished=3, lost=1)
    summary = summarise(Settings(), 4, tally, counts, command="", wall_seconds=12.5, pss=pss)
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(closing_table(summary, startup_s=startup_s))
    return console.export_text()


def test_table_of_a_run_has_its_figures(told) -> None:
    tally = Tally()
    tally.add(0, told.view(1, 4, (2, 2)))
    for iteration, correct in ((1, 5), (2, 9)):
        tally.add(0, told.finished(iteration, seconds=0.5, tensor=2_000_000, control=1000, lookups=3))
        tally.add(0, told.updated(iteration, 1 / iteration, 10))
        tally.add(0, told.evaluated(iteration, correct, 10))
        tally.add(0, told.group(iteration, 1, 0, "complete"))
        tally.add(0, told.group(iteration, 2, 0, "partial"))
    text = printed(tally, pss=Pss(max_bytes=8 * MIB, total_bytes=24 * MIB, processes=3), startup_s=2.5)
    for part in (
        *("2×2 grid", "90.00 %", "▁█", "0.5000", "0.0e+00", "2.0 MB tensor, 1.0 kB control", "3.00"),
        *("2 complete, 2 partial", "0.50 s", "2.50 s", "12.50 s", "4 started, 3 finished, 1 lost"),
        "8.0 MiB a peer at most, 24 in all",
    ):
        assert part in text


def test_table_of_a_private_run_has_its_epsilons(told) -> None:
    tally = Tally()
    for iteration, mate in ((1, 4.7), (2, 6.9)):
        tally.add(0, told.finished(iteration))
        tally.add(
            0,
            PrivacySpent(
                iteration=iteration,
                epsilon_mate=mate,
                epsilon_outsider=mate / 2,
                delta=1e-5,
                clip=0.1,
                noise_std=0.1,
                releases=iteration,
            ),
        )
    text = printed(tally, pss=None, startup_s=None)
    assert "6.9 against a group-mate, 3.45 against an outsider" in text
    assert "4.7" not in text


def test_table_of_a_run_that_never_began_is_whole() -> None:
    text = printed(Tally(), pss=None, startup_s=None)
    assert "4 started" in text and "–" in text and "PSS" not in text


@pytest.mark.parametrize(
    ("life", "words"),
    [
        (Life(index=0, pid=1, alive=False, killed_by=9), "killed by SIGKILL"),
        (Life(index=0, pid=1, alive=False, code=2), "exit code 2"),
        (Life(index=0, pid=1, alive=False, killed_by=9, asked_at=1.0), "it did not come to an end and was stopped"),
    ],
)
def test_ending_is_told_in_words(life: Life, words: str) -> None:
    assert ending(life) == words


def test_ending_prefers_what_the_peer_itself_said(told) -> None:
    life = Life(index=0, pid=1, alive=False, code=1, stopped=told.stopped("error", "out of beans"))
    assert ending(life) == "out of beans"


def test_losses_name_the_logs_of_the_first_few() -> None:
    lives = [Life(index=index, pid=1, alive=False, code=1) for index in range(EXPLAINED_LOSSES + 2)]
    lines = losses(lives, Path("/f"))
    assert lines[0] == "peer-000 was lost: exit code 1 (see /f/peer-000/peer.log)"
    assert len(lines) == EXPLAINED_LOSSES + 1 and lines[-1] == "and 2 more"
