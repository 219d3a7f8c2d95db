import signal

from marfl_peer.lab.churn.plan import Action
from marfl_peer.lab.churn.steps import ChurnCounts, Restart, Strike


def test_steps_of_equal_content_are_equal() -> None:
    assert Strike(1, signal.SIGKILL, Action.KILL, 3) == Strike(1, signal.SIGKILL, Action.KILL, 3)
    assert Restart(1, 3) != Restart(1, 4)


def test_nothing_was_done_at_first() -> None:
    assert ChurnCounts() == ChurnCounts(killed=0, restarted=0, paused=0, dropped_out=0, slowed=0)
