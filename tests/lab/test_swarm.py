import io
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError, MarflError
from marfl_peer.lab.churn.log import CHURN_LOG, read_deeds
from marfl_peer.lab.churn.plan import NO_CHURN, Action, ChurnPlan, Event, Listed, Moment
from marfl_peer.lab.swarm import run_swarm
from marfl_peer.lab.warden import Patience

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE)}
HURRIED = Patience(linger_s=0.3, drain_s=0.3)


def run(
    task: str, tmp_path: Path, *, peers: int = 4, shards: int = 4, churn: ChurnPlan = NO_CHURN
) -> tuple[int, dict, str]:
    """Exit code, summary and screen of a swarm of fake children, three iterations long."""
    console = Console(file=io.StringIO(), width=100)
    settings = Settings(task=task, iterations=3, shards=shards, state_dir=tmp_path / "state")
    code = run_swarm(
        settings,
        peers,
        summary=tmp_path / "s.json",
        plain=True,
        churn=churn,
        entry="fake_children:prepare",
        environment=ENVIRONMENT,
        patience=HURRIED,
        console=console,
    )
    assert isinstance(console.file, io.StringIO)
    return code, json.loads((tmp_path / "s.json").read_text()), console.file.getvalue()


@pytest.mark.parametrize("peers", [1, 4, 9])
def test_swarm_that_finishes_is_a_success(tmp_path: Path, peers: int) -> None:
    code, summary, screen = run("fake:steady", tmp_path, peers=peers, shards=peers)
    assert code == 0
    assert (summary["peers_started"], summary["peers_finished"], summary["peers_lost"]) == (peers, peers, 0)
    assert [row["test_accuracy_mean"] for row in summary["iterations"]] == pytest.approx([0.2, 0.4, 0.6])
    assert [row["bytes_sent"]["tensor"] for row in summary["iterations"]] == [1000 * peers] * 3
    assert "iteration 3/3" in screen and f"{peers} started, {peers} finished" in screen
    (folder,) = (tmp_path / "state").iterdir()
    assert (folder / "peer-000" / "peer.log").read_text() == "child 0 lives\n"
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["command"] == f"marfl-peer swarm --peers {peers} --task fake:steady --iterations 3"
    assert summary["settings"]["task"] == "fake:steady"


def test_swarm_that_loses_a_peer_says_which_and_ends_with_1(tmp_path: Path) -> None:
    code, summary, screen = run("fake:crash", tmp_path)
    assert code == 1
    assert (summary["peers_finished"], summary["peers_lost"]) == (3, 1)
    assert [row["peers_alive"] for row in summary["iterations"]] == [4, 3, 3]
    assert "peer-001 was lost: killed by SIGKILL" in screen


def test_swarm_with_a_stuck_peer_ends_all_the_same(tmp_path: Path) -> None:
    code, summary, screen = run("fake:stuck", tmp_path)
    assert code == 1
    assert (summary["peers_finished"], summary["peers_lost"]) == (3, 1)
    assert "peer-001 was lost: it did not come to an end" in screen


def test_peer_that_the_plan_kills_lives_again_and_finishes(tmp_path: Path) -> None:
    kill = Event(action=Action.KILL, peers=Listed((1,)), when=Moment.UPDATE, restart_after_s=0.0)
    code, summary, screen = run("fake:reborn", tmp_path, peers=2, churn=ChurnPlan(seed=0, events=(kill,)))
    assert code == 0
    assert (summary["peers_started"], summary["peers_finished"], summary["peers_lost"]) == (2, 2, 0)
    assert summary["churn"] == {"killed": 1, "restarted": 1, "paused": 0, "dropped_out": 0, "slowed": 0}
    assert "1 killed, 1 restarted" in screen
    (folder,) = (tmp_path / "state").iterdir()
    assert [(deed.action, deed.peer, deed.iteration) for deed in read_deeds(folder / CHURN_LOG)] == [
        ("kill", 1, 1),
        ("restart", 1, 1),
    ]


def test_peer_that_the_plan_kills_for_good_is_lost_and_no_failure(tmp_path: Path) -> None:
    kill = Event(action=Action.KILL, peers=Listed((1,)), when=Moment.UPDATE)
    code, summary, _ = run("fake:doomed", tmp_path, peers=2, churn=ChurnPlan(seed=0, events=(kill,)))
    assert code == 0
    assert (summary["peers_finished"], summary["peers_lost"], summary["churn"]["killed"]) == (1, 1, 1)


def test_refused_data_are_one_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="shards: 4: there are too few samples"):
        run("fake:config", tmp_path)


def test_broken_entry_is_an_error_that_names_the_log(tmp_path: Path) -> None:
    with pytest.raises(MarflError, match=r"ZeroDivisionError.*nursery\.log"):
        run("fake:bug", tmp_path)


def test_summary_without_a_place_is_refused_before_anything_starts(tmp_path: Path) -> None:
    settings = Settings(shards=4, state_dir=tmp_path / "state")
    with pytest.raises(ConfigError, match="summary"):
        run_swarm(settings, 4, summary=tmp_path / "missing" / "s.json", plain=True)
    assert list(tmp_path.iterdir()) == []


LAUNCH = """
import os, sys
from pathlib import Path
from marfl_peer.config import Settings
from marfl_peer.lab.swarm import run_swarm
folder = Path(sys.argv[1])
settings = Settings(task="fake:waiting", shards=4, state_dir=folder / "state")
sys.exit(run_swarm(settings, 4, summary=folder / "s.json", plain=True, entry="fake_children:prepare"))
"""


def launched(tmp_path: Path) -> subprocess.Popen[str]:
    """A swarm whose peers wait for ever, as a process of its own, at the moment when all are listening."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", LAUNCH, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, "TMPDIR": str(tmp_path)},  # a killed one cannot remove its own
        cwd=HERE.parents[1],
    )
    assert process.stdout is not None
    while "finding each other" not in (line := process.stdout.readline()):
        assert line, "the swarm ended before its peers were up"
    return process


def test_ctrl_c_lets_the_peers_leave_and_writes_the_summary(tmp_path: Path) -> None:
    with launched(tmp_path) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["peers_started"], summary["peers_finished"], summary["peers_lost"]) == (4, 0, 0)


def test_killed_launcher_leaves_no_orphan(tmp_path: Path) -> None:
    with launched(tmp_path) as process:
        descendants = descendants_of(process.pid)
        assert len(descendants) == 5  # the nursery and its children
        watched = [os.pidfd_open(pid) for pid in descendants]
        process.kill()
        try:
            for fd in watched:
                assert select.select([fd], [], [], 20)[0], "an orphan lives on"
        finally:
            for fd in watched:
                os.close(fd)


def descendants_of(pid: int) -> list[int]:
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return children + [grandchild for child in children for grandchild in descendants_of(child)]
