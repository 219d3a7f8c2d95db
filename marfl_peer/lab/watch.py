"""Follows a run for the user's eyes: which iterations are settled, how far everybody is, what to draw when.

Reads the tally and the warden and changes neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from marfl_peer.config import Settings
from marfl_peer.lab.churn.steps import ChurnCounts
from marfl_peer.lab.memory import MIB, Pss
from marfl_peer.lab.progress import Snapshot, View
from marfl_peer.lab.tally import IterationRow, Tally
from marfl_peer.lab.warden import Fate, Warden

REDRAW_S = 0.25


class Watch:
    """Turns the state of a run into snapshots for one view, at most four a second."""

    def __init__(
        self,
        settings: Settings,
        peers: int,
        *,
        tally: Tally,
        warden: Warden,
        view: View,
        churn: Callable[[], ChurnCounts] = ChurnCounts,
    ) -> None:
        self._settings = settings
        self._peers = peers
        self._tally = tally
        self._warden = warden
        self._view = view
        self._churn = churn
        self._settled: list[IterationRow] = []
        self._drawn_at = float("-inf")

    def draw(self, phase: str, *, now: float, pss: Pss | None, at_once: bool = False) -> None:
        """Updates the view, unless it was updated a moment ago. `now`: seconds since the start of the run."""
        if now < self._drawn_at + REDRAW_S and not at_once:
            return
        self._drawn_at = now
        self._view.update(self.snapshot(phase, now=now, pss=pss))

    def snapshot(self, phase: str, *, now: float, pss: Pss | None) -> Snapshot:
        """The run at this moment. `pss`: of all peers at the last sample."""
        current = self._settle()
        alive = len(self._warden.alive())
        return Snapshot(
            settings=self._settings,
            peers=self._peers,
            grid=self._tally.grid,
            phase=phase,
            elapsed_s=now,
            progress=self.progress(),
            rows=tuple(self._settled),
            current=current,
            alive=alive,
            finished=len(self._warden.with_fate(Fate.FINISHED)),
            lost=len(self._warden.with_fate(Fate.LOST)),
            churn=self._churn(),
            pss_mib_mean=None if pss is None else pss.total_bytes / pss.processes / MIB,
        )

    def progress(self) -> float:
        """The share of their iterations that the peers have behind them, 0..1; those who stopped have all, but
        not those that were killed and may come back."""
        lives = self._warden.lives.values()
        done = sum(self._tally.last_iteration(life.index) for life in lives if life.alive)
        stopped = sum(1 for life in lives if not life.alive and life.fate is not Fate.KILLED)
        return done / self._settings.iterations / self._peers + stopped / self._peers

    def _settle(self) -> IterationRow | None:
        """Moves on over the settled iterations; returns the newest one that is not settled, if any."""
        alive = [life.index for life in self._warden.alive()]
        unsettled = self._unsettled()
        while unsettled and self._tally.is_settled(unsettled[0], alive):
            self._settled.append(self._tally.row(unsettled[0]))
            unsettled = unsettled[1:]
        return self._tally.row(unsettled[-1]) if unsettled else None

    def _unsettled(self) -> Sequence[int]:
        newest_settled = self._settled[-1].iteration if self._settled else 0
        return [iteration for iteration in self._tally.iterations if iteration > newest_settled]
