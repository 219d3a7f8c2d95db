"""Whether a peer lives and whether it takes part, concluded from its facts: what /healthz and /readyz say.

Knows facts and a clock that it is handed; nothing of HTTP or of the peer.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from marfl_peer.facts import Fact, IterationFinished, LoopLagged, PeerStarted, PeerStopped, ViewChanged

STALL_S = 5.0
"""An event loop that was late by this much has stalled: heartbeats were missed."""

STALL_MEMORY_S = 30.0
"""How long a stall counts."""


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer is like at one moment; the body of both answers."""

    healthy: bool
    ready: bool
    reason: str
    peer_id: str | None
    run_id: str | None
    iteration: int
    """The last one that was finished."""
    peers: int
    grid: tuple[int, ...]
    cell: int | None
    test_accuracy: float | None


class Health:
    """A sink that remembers what matters to a probe. `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._started: PeerStarted | None = None
        self._view: ViewChanged | None = None
        self._finished: IterationFinished | None = None
        self._stopped: PeerStopped | None = None
        self._stalled_at: float | None = None

    def __call__(self, fact: Fact) -> None:
        match fact:
            case PeerStarted():
                self._started = fact
            case ViewChanged():
                self._view = fact
            case IterationFinished():
                self._finished = fact
            case PeerStopped():
                self._stopped = fact
            case LoopLagged(seconds=seconds) if seconds >= STALL_S:
                self._stalled_at = self._now()

    def report(self) -> HealthReport:
        """Healthy: neither failed nor stalled of late. Ready: healthy, and one of the peers of a view."""
        trouble = self._trouble()
        absence = trouble or self._absence()
        started, view, finished = self._started, self._view, self._finished
        return HealthReport(
            healthy=not trouble,
            ready=not absence,
            reason=absence or "takes part",
            peer_id=started.peer_id if started else None,
            run_id=started.run_id if started else None,
            iteration=finished.iteration if finished else 0,
            peers=view.peers if view else 0,
            grid=view.grid if view else (),
            cell=view.cell if view else None,
            test_accuracy=finished.test_accuracy if finished else None,
        )

    def _trouble(self) -> str:
        if self._stopped is not None and self._stopped.reason == "error":
            return f"stopped with an error: {self._stopped.detail}"
        if self._stalled_at is not None and self._now() - self._stalled_at < STALL_MEMORY_S:
            return "the event loop stalled"
        return ""

    def _absence(self) -> str:
        if self._stopped is not None:
            return f"stopped: {self._stopped.reason}"
        if self._view is None:
            return "in no view yet"
        if self._view.cell is None:
            return "not in the current view"
        return ""
