from signal import SIGKILL, SIGTERM

import pytest

from marfl_peer.facts import DhtLookedUp, IterationStarted
from marfl_peer.lab.warden import Fate, Patience, Warden

PATIENCE = Patience(linger_s=60, stall_s=600, drain_s=20)


def warden_of(peers: int) -> Warden:
    warden = Warden(PATIENCE, now=0.0)
    for index in range(peers):
        warden.started(index, 100 + index, now=0.0)
    return warden


def finish(warden: Warden, told, index: int, *, now: float, reason: str = "finished") -> None:
    warden.heard(index, told.stopped(reason), now=now)
    warden.exited(index, 0, None, now=now)


def test_quiet_start_needs_no_signal() -> None:
    assert warden_of(3).signals_due(599.0) == []


@pytest.mark.parametrize("reason", ["finished", "target_reached", "budget_reached"])
def test_all_finished_is_a_success(told, reason: str) -> None:
    warden = warden_of(2)
    for index in range(2):
        finish(warden, told, index, now=5.0, reason=reason)
    assert warden.exit_code() == 0
    assert len(warden.with_fate(Fate.FINISHED)) == 2 and warden.alive() == []


@pytest.mark.parametrize("late", ["before the start", "after the exit"])
def test_last_fact_counts_whenever_it_comes(told, late: str) -> None:
    warden = Warden(PATIENCE, now=0.0)
    if late == "before the start":
        warden.heard(0, told.stopped("finished"), now=0.0)
    warden.started(0, 100, now=0.0)
    warden.exited(0, 0, None, now=1.0)
    if late == "after the exit":
        warden.heard(0, told.stopped("finished"), now=1.0)
    assert warden.lives[0].fate is Fate.FINISHED


@pytest.mark.parametrize(
    ("reason", "code", "killed_by"),
    [(None, None, 9), ("error", 1, None), ("finished", 1, None), ("left", 0, None), (None, 0, None)],
)
def test_any_other_end_is_a_loss(told, reason: str | None, code: int | None, killed_by: int | None) -> None:
    warden = warden_of(1)
    if reason is not None:
        warden.heard(0, told.stopped(reason), now=1.0)
    warden.exited(0, code, killed_by, now=1.0)
    assert warden.lives[0].fate is Fate.LOST
    assert warden.exit_code() == 1


def test_nobody_started_is_no_success() -> None:
    assert Warden(PATIENCE, now=0.0).exit_code() == 1


def test_interrupt_asks_everybody_once_then_kills_after_the_drain(told) -> None:
    warden = warden_of(2)
    warden.interrupt()
    assert warden.signals_due(1.0) == [(0, SIGTERM), (1, SIGTERM)]
    assert warden.signals_due(2.0) == []
    finish(warden, told, 0, now=3.0, reason="left")
    assert warden.signals_due(20.9) == []
    assert warden.signals_due(21.0) == [(1, SIGKILL)]
    assert warden.signals_due(22.0) == []
    warden.exited(1, None, 9, now=23.0)
    assert [life.fate for life in warden.lives.values()] == [Fate.LEFT, Fate.LEFT]
    assert warden.exit_code() == 130


def test_second_interrupt_kills_at_once() -> None:
    warden = warden_of(2)
    warden.interrupt()
    warden.signals_due(1.0)
    warden.interrupt()
    assert warden.signals_due(1.0) == [(0, SIGKILL), (1, SIGKILL)]
    assert warden.signals_due(1.0) == []


def test_peer_that_starts_into_an_interrupt_is_asked_too() -> None:
    warden = warden_of(1)
    warden.interrupt()
    warden.signals_due(1.0)
    warden.started(1, 101, now=2.0)
    assert warden.signals_due(2.0) == [(1, SIGTERM)]
    warden.exited(1, None, SIGTERM, now=3.0)
    assert warden.lives[1].fate is Fate.LEFT


def test_peer_that_outlasts_the_others_is_stopped_and_lost(told) -> None:
    warden = warden_of(3)
    finish(warden, told, 0, now=10.0)
    assert warden.signals_due(69.0) == []
    finish(warden, told, 1, now=69.0)
    assert warden.signals_due(128.0) == []
    assert warden.signals_due(129.0) == [(2, SIGTERM)]
    assert warden.signals_due(149.0) == [(2, SIGKILL)]
    finish(warden, told, 2, now=150.0, reason="left")
    assert warden.lives[2].fate is Fate.LOST
    assert warden.exit_code() == 1


def test_peer_killed_early_hurries_nobody() -> None:
    warden = warden_of(2)
    warden.exited(0, None, 9, now=1.0)
    assert warden.signals_due(500.0) == []


def test_swarm_without_news_of_an_iteration_is_stopped() -> None:
    warden = warden_of(2)
    warden.heard(0, IterationStarted(iteration=1), now=100.0)
    warden.heard(1, DhtLookedUp(purpose="refresh", records=0, seconds=0.1), now=600.0)
    assert warden.signals_due(699.0) == []
    assert warden.signals_due(700.0) == [(0, SIGTERM), (1, SIGTERM)]
    assert not warden.is_interrupted


def test_index_can_live_twice(told) -> None:
    warden = warden_of(1)
    warden.exited(0, None, 9, now=1.0)
    warden.started(0, 200, now=2.0)
    finish(warden, told, 0, now=3.0)
    assert warden.lives[0].fate is Fate.FINISHED


def test_peer_that_the_plan_killed_is_no_loss_of_the_run() -> None:
    warden = warden_of(2)
    warden.expect_kill(0)
    warden.exited(0, None, SIGKILL, now=1.0)
    assert warden.lives[0].fate is Fate.KILLED
    warden.exited(1, None, SIGKILL, now=1.0)
    assert warden.lives[1].fate is Fate.LOST


def test_peer_that_ends_before_its_kill_comes_has_finished(told) -> None:
    warden = warden_of(1)
    warden.expect_kill(0)
    finish(warden, told, 0, now=1.0)
    assert warden.lives[0].fate is Fate.FINISHED
    assert warden.exit_code() == 0


def test_peer_that_comes_back_counts_by_its_last_life(told) -> None:
    warden = warden_of(1)
    warden.expect_kill(0)
    warden.exited(0, None, SIGKILL, now=1.0)
    warden.started(0, 101, now=2.0)
    warden.exited(0, None, SIGKILL, now=3.0)
    assert warden.lives[0].fate is Fate.LOST, "that was not the plan's"
