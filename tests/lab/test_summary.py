import json
from pathlib import Path

import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab.memory import MIB, Pss
from marfl_peer.lab.summary import PeerCounts, Summary, check_writable, summarise, write_summary
from marfl_peer.lab.tally import Tally

COUNTS = PeerCounts(started=4, finished=3, lost=1)


def summary_of(tally: Tally, *, pss: Pss | None = None) -> Summary:
    return summarise(Settings(run_id="r"), 4, tally, COUNTS, command="run it", wall_seconds=12.5, pss=pss)


def test_summary_has_every_key_and_no_other(told, tmp_path: Path) -> None:
    tally = Tally()
    tally.add(0, told.started())
    tally.add(0, told.view(1, 4, (2, 2)))
    tally.add(0, told.finished(1, tensor=10))
    tally.add(0, told.evaluated(1, 9, 10))
    write_summary(summary_of(tally, pss=Pss(max_bytes=8 * MIB, total_bytes=24 * MIB, processes=3)), tmp_path / "s")
    written = json.loads((tmp_path / "s").read_text())
    assert written == {
        "run_id": "r",
        "task": "digits",
        "peers": 4,
        "group_size": 4,
        "grid": [2, 2],
        "exchange": "butterfly",
        "aggregation": "mar",
        "codec": "float32",
        "settings": Settings(run_id="r").shared(),
        "command": "run it",
        "vector_bytes": 96,
        "iterations": [
            {
                "iteration": 1,
                "test_accuracy_mean": 0.9,
                "train_loss_mean": None,
                "disagreement": 0.0,
                "seconds": 1.0,
                "bytes_sent": {"tensor": 10, "control": 0, "dht": 0, "state": 0},
                "groups_complete": 0,
                "groups_partial": 0,
                "peers_alive": 1,
                "peers_skipped": 0,
                "mixing_residual": None,
                "epsilon_mate": None,
                "epsilon_outsider": None,
            }
        ],
        "bytes_sent_per_peer_per_iteration": {"tensor": 10.0, "control": 0.0, "dht": 0.0, "state": 0.0},
        "dht_lookups_per_peer_per_iteration": 0.0,
        "peers_started": 4,
        "peers_finished": 3,
        "peers_lost": 1,
        "churn": {"killed": 0, "restarted": 0, "paused": 0, "dropped_out": 0, "slowed": 0},
        "churn_plan": "",
        "wall_seconds": 12.5,
        "pss_mib_max": 8.0,
        "pss_mib_total": 24.0,
    }


def test_summary_of_a_run_that_never_began_has_nulls() -> None:
    summary = summary_of(Tally())
    assert (summary.grid, summary.iterations, summary.pss_mib_max, summary.pss_mib_total) == ((), (), None, None)


def test_write_replaces_an_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("old")
    write_summary(summary_of(Tally()), tmp_path / "s.json")
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]
    assert json.loads((tmp_path / "s.json").read_text())["peers"] == 4


def test_write_that_fails_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_summary(summary_of(Tally()), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_check_refuses_a_folder_and_a_missing_one(tmp_path: Path) -> None:
    check_writable(tmp_path / "s.json")
    with pytest.raises(ConfigError, match="name a file"):
        check_writable(tmp_path)
    with pytest.raises(ConfigError, match="existing, writable folder"):
        check_writable(tmp_path / "missing" / "s.json")
