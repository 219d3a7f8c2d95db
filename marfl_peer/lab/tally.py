"""Adds up the facts of all peers into one row of figures an iteration. No I/O, no clock.

Facts come in any order between peers, and a peer may fall silent at any point; a row can be asked for at any
time and states what is known then. Peers are named by the index that the launcher gave them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import get_args

import msgspec

from marfl_peer.averaging.disagreement import disagreement
from marfl_peer.facts import (
    ByteKind,
    Evaluated,
    Fact,
    GroupFinished,
    IterationFinished,
    IterationSkipped,
    LocalUpdateFinished,
    PeerStarted,
    PrivacySpent,
    VectorSketched,
    ViewChanged,
)
from marfl_peer.lab.residuals import Residuals

BYTE_KINDS: tuple[str, ...] = get_args(ByteKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationRow:
    """One iteration of the whole swarm. `seconds` is the median over the peers, `bytes_sent` their sum by
    kind.

    `test_accuracy_mean` and `disagreement` belong to the state after this iteration. `mixing_residual`: after each
    round, in a run that is traced. None: nobody reported it.
    """

    iteration: int
    test_accuracy_mean: float | None
    train_loss_mean: float | None
    disagreement: float | None
    seconds: float | None
    bytes_sent: dict[str, int]
    groups_complete: int
    groups_partial: int
    peers_alive: int
    peers_skipped: int
    mixing_residual: tuple[float, ...] | None = None
    epsilon_mate: float | None = None
    """The largest that any peer told; None without differential privacy."""
    epsilon_outsider: float | None = None


@dataclass(slots=True)
class _Reports:
    """What was reported about one iteration, by peer where a peer's last word counts."""

    finished: dict[int, IterationFinished] = field(default_factory=dict)
    projections: dict[int, array[float]] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)
    updates: dict[int, LocalUpdateFinished] = field(default_factory=dict)
    shares: dict[int, Evaluated] = field(default_factory=dict)
    whole_tests: dict[int, Evaluated] = field(default_factory=dict)
    lines_complete: dict[tuple[int, int], bool] = field(default_factory=dict)
    accuracy_told: float | None = None
    residuals: Residuals = field(default_factory=Residuals)
    spent: dict[int, PrivacySpent] = field(default_factory=dict)


class Tally:
    """`add` every fact; `row` and the totals tell the sums so far."""

    def __init__(self) -> None:
        self._reports: dict[int, _Reports] = {}
        self._last: dict[int, int] = {}
        self._view: ViewChanged | None = None
        self.vector_bytes: int | None = None
        """Of what is averaged; None until a peer has told it."""

    def add(self, index: int, fact: Fact) -> None:
        """Takes one fact of the peer with that index; most kinds of facts change nothing."""
        match fact:
            case IterationFinished():
                self._add_finished(index, fact)
            case IterationSkipped():
                self._of(fact.iteration).skipped[index] = fact.reason
                self._last[index] = max(self._last.get(index, 0), fact.iteration)
            case LocalUpdateFinished():
                self._of(fact.iteration).updates[index] = fact
            case Evaluated():
                reports = self._of(fact.iteration)
                (reports.shares if fact.scope == "share" else reports.whole_tests)[index] = fact
            case GroupFinished():
                lines, line = self._of(fact.iteration).lines_complete, (fact.round, fact.line)
                lines[line] = lines.get(line, True) and _is_complete(fact)
            case VectorSketched():
                self._of(fact.iteration).residuals.add(index, fact)
            case PeerStarted():
                self.vector_bytes = fact.vector_bytes or self.vector_bytes
            case PrivacySpent():
                self._of(fact.iteration).spent[index] = fact
            case ViewChanged():
                if self._view is None or fact.peers > self._view.peers:
                    self._view = fact

    def _add_finished(self, index: int, fact: IterationFinished) -> None:
        reports = self._of(fact.iteration)
        reports.finished[index] = msgspec.structs.replace(fact, projection=())
        reports.projections[index] = array("d", fact.projection)  # a quarter of the tuple's memory
        self._last[index] = max(self._last.get(index, 0), fact.iteration)
        if fact.evaluated_iteration is not None and fact.test_accuracy is not None:
            self._of(fact.evaluated_iteration).accuracy_told = fact.test_accuracy

    def _of(self, iteration: int) -> _Reports:
        return self._reports.setdefault(iteration, _Reports())

    @property
    def grid(self) -> tuple[int, ...] | None:
        """The grid of the largest view that any peer had; None before the first view."""
        return None if self._view is None else self._view.grid

    @property
    def largest_view(self) -> ViewChanged | None:
        """That any peer had; None before the first."""
        return self._view

    @property
    def iterations(self) -> list[int]:
        """Those that at least one peer has finished or skipped, ascending."""
        return sorted(t for t, reports in self._reports.items() if reports.finished or reports.skipped)

    def last_iteration(self, index: int) -> int:
        """The last iteration that this peer finished or skipped; 0 before the first."""
        return self._last.get(index, 0)

    def is_settled(self, iteration: int, alive: list[int]) -> bool:
        """Whether nothing more is to be expected about the iteration from the peers that are still alive."""
        if not alive:
            return True
        newest = max(self._last.values(), default=0)
        if newest >= iteration + 2:  # whoever has not reported by now is late by a whole iteration, or new
            return True
        reports = self._reports.get(iteration, _Reports())
        if any(self.last_iteration(index) < iteration for index in alive):
            return False
        evaluated = reports.shares | reports.whole_tests
        return newest > iteration or all(index in evaluated for index in alive)

    def row(self, iteration: int) -> IterationRow:
        """The figures of one iteration, as far as they are known."""
        reports = self._reports.get(iteration, _Reports())
        finished = reports.finished.values()
        complete = sum(reports.lines_complete.values())
        return IterationRow(
            iteration=iteration,
            test_accuracy_mean=_accuracy(reports),
            train_loss_mean=_train_loss(reports),
            disagreement=_disagreement(reports),
            seconds=median(fact.seconds for fact in finished) if finished else None,
            bytes_sent={kind: sum(fact.bytes_sent.get(kind, 0) for fact in finished) for kind in BYTE_KINDS},
            groups_complete=complete,
            groups_partial=len(reports.lines_complete) - complete,
            peers_alive=len(reports.finished.keys() | reports.skipped.keys()),
            peers_skipped=len(reports.skipped),
            mixing_residual=reports.residuals.after_rounds(),
            epsilon_mate=max((fact.epsilon_mate for fact in reports.spent.values()), default=None),
            epsilon_outsider=max((fact.epsilon_outsider for fact in reports.spent.values()), default=None),
        )

    def bytes_sent_per_peer_per_iteration(self) -> dict[str, float]:
        """Mean by kind over all iterations that any peer has finished."""
        count = max(1, sum(len(reports.finished) for reports in self._reports.values()))
        return {kind: self._sum_bytes(kind) / count for kind in BYTE_KINDS}

    def _sum_bytes(self, kind: str) -> int:
        return sum(
            fact.bytes_sent.get(kind, 0) for reports in self._reports.values() for fact in reports.finished.values()
        )

    def dht_lookups_per_peer_per_iteration(self) -> float:
        """Mean over all iterations that any peer has finished; the look-ups of the start are in it."""
        lookups = [fact.dht_lookups for reports in self._reports.values() for fact in reports.finished.values()]
        return fmean(lookups) if lookups else 0.0


def _is_complete(fact: GroupFinished) -> bool:
    """Whether, by this member's report, everybody of the line was in the result.

    `taken` and `alone` with nobody absent are: a result fetched whole, or a line whose cells one peer plays.
    """
    return fact.outcome == "complete" or (fact.outcome in ("taken", "alone") and fact.absent == 0)


def _accuracy(reports: _Reports) -> float | None:
    """Over all shares of the test set; else the mean of whole tests; else what a peer told."""
    seen = sum(fact.seen for fact in reports.shares.values())
    if seen:
        return sum(fact.correct for fact in reports.shares.values()) / seen
    whole = [fact.correct / fact.seen for fact in reports.whole_tests.values() if fact.seen]
    return fmean(whole) if whole else reports.accuracy_told


def _train_loss(reports: _Reports) -> float | None:
    """Sample-weighted over the local updates; else the swarm's mean as the peers told it."""
    updates = [(fact.loss, fact.samples) for fact in reports.updates.values() if fact.loss is not None]
    samples = sum(count for _, count in updates)
    if samples:
        return sum(loss * count for loss, count in updates) / samples
    told = [fact.train_loss for fact in reports.finished.values() if fact.train_loss is not None]
    return fmean(told) if told else None


def _disagreement(reports: _Reports) -> float | None:
    sketches = [tuple(projection) for _, projection in sorted(reports.projections.items()) if projection]
    return disagreement(sketches) if sketches else None
