from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

from marfl_peer.lab.churn.log import ChurnLog, Deed, read_deeds
from marfl_peer.lab.churn.plan import Action
from marfl_peer.lab.churn.steps import Restart, Strike


def test_deeds_are_read_back_as_they_were_done(tmp_path: Path) -> None:
    path = tmp_path / "churn.jsonl"
    times = iter((1.0, 2.0, 3.0, 4.0))
    log = ChurnLog(path, wall=lambda: next(times))
    log.note(Strike(3, SIGKILL, Action.KILL, 2))
    log.note(Restart(3, 2))
    log.note(Strike(1, SIGSTOP, Action.DROPOUT, 4))
    log.note(Strike(1, SIGCONT, Action.DROPOUT, 4))
    assert read_deeds(path) == [
        Deed(at=1.0, action="kill", peer=3, iteration=2),
        Deed(at=2.0, action="restart", peer=3, iteration=2),
        Deed(at=3.0, action="dropout", peer=1, iteration=4),
        Deed(at=4.0, action="resume", peer=1, iteration=4),
    ]


def test_slow_peer_is_told_of_once(tmp_path: Path) -> None:
    log = ChurnLog(tmp_path / "churn.jsonl", wall=lambda: 1.0)
    for _ in range(3):
        log.note(Strike(1, SIGSTOP, Action.SLOW, 1))
        log.note(Strike(1, SIGCONT, Action.SLOW, 1))
    assert [deed.action for deed in read_deeds(tmp_path / "churn.jsonl")] == ["slow"]


def test_run_without_deeds_has_no_file(tmp_path: Path) -> None:
    assert read_deeds(tmp_path / "churn.jsonl") == []
