from __future__ import annotations

import pytest

from marfl_peer.facts import (
    IterationFinished,
    LoopLagged,
    PeerStarted,
    PeerStopped,
    ViewChanged,
)
from marfl_peer.observe.health import STALL_MEMORY_S, STALL_S, Health

STARTED = PeerStarted(peer_id="ab" * 20, incarnation=1, run_id="demo", host="127.0.0.1", port=7700, task="digits")
VIEW = ViewChanged(iteration=1, digest="00", peers=4, grid=(2, 2), cell=3)


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_new_peer_is_healthy_and_not_ready() -> None:
    report = Health(Time()).report()
    assert (report.healthy, report.ready, report.reason) == (True, False, "in no view yet")
    assert (report.peer_id, report.iteration, report.peers, report.grid) == (None, 0, 0, ())


def test_peer_with_a_cell_in_the_view_is_ready() -> None:
    health = Health(Time())
    health(STARTED)
    health(VIEW)
    report = health.report()
    assert (report.healthy, report.ready, report.reason) == (True, True, "takes part")
    assert (report.peer_id, report.run_id) == ("ab" * 20, "demo")
    assert (report.peers, report.grid, report.cell) == (4, (2, 2), 3)


def test_peer_that_fell_out_of_the_view_is_not_ready() -> None:
    health = Health(Time())
    health(VIEW)
    health(ViewChanged(iteration=5, digest="01", peers=3, grid=(2, 2), cell=None))
    report = health.report()
    assert (report.healthy, report.ready, report.reason) == (True, False, "not in the current view")


def test_report_has_the_last_finished_iteration() -> None:
    health = Health(Time())
    for iteration, accuracy in ((1, None), (2, 0.75)):
        health(
            IterationFinished(
                iteration=iteration,
                seconds=1.0,
                weight=10,
                projection=(),
                train_loss=0.5,
                evaluated_iteration=None if accuracy is None else 1,
                test_accuracy=accuracy,
                test_loss=None,
                groups_complete=2,
                groups_partial=0,
                peers=4,
                bytes_sent={},
                dht_lookups=0,
            )
        )
    assert (health.report().iteration, health.report().test_accuracy) == (2, 0.75)


def test_stalled_loop_is_unhealthy_for_a_while() -> None:
    time = Time()
    health = Health(time)
    health(VIEW)
    health(LoopLagged(seconds=STALL_S))
    report = health.report()
    assert (report.healthy, report.ready, report.reason) == (False, False, "the event loop stalled")
    time.now += STALL_MEMORY_S
    assert health.report().healthy


def test_short_lag_is_no_stall() -> None:
    health = Health(Time())
    health(LoopLagged(seconds=STALL_S / 2))
    assert health.report().healthy


@pytest.mark.parametrize("reason", ["finished", "target_reached", "left"])
def test_stopped_peer_is_healthy_and_not_ready(reason: str) -> None:
    health = Health(Time())
    health(VIEW)
    health(PeerStopped(reason=reason, iteration=3, detail=""))  # type: ignore[arg-type]  # a table of literals
    report = health.report()
    assert (report.healthy, report.ready, report.reason) == (True, False, f"stopped: {reason}")


def test_peer_stopped_by_an_error_is_unhealthy() -> None:
    health = Health(Time())
    health(PeerStopped(reason="error", iteration=3, detail="disk"))
    assert (health.report().healthy, health.report().reason) == (False, "stopped with an error: disk")
