"""What there is to tell of one simulated run: its faults, its iterations, its summary, its trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from marfl_peer.errors import ConfigError
from marfl_peer.facts import Fact
from marfl_peer.lab.figures import scheme
from marfl_peer.lab.simulator.report import Report
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player
from marfl_peer.lab.simulator.world import Noted
from marfl_peer.lab.summary import PeerCounts, Summary, summarise
from marfl_peer.lab.tally import Tally

FAULT = "fault: "


class Account:
    """Watches one run. `trace` gets every noted event as a line."""

    def __init__(self, scenario: Scenario, *, trace: TextIO | None = None) -> None:
        self.scenario, self._trace = scenario, trace
        self._tally = Tally()
        self._faults: list[str] = []

    def run(self, _: Scenario) -> Report:
        """Runs its scenario, and keeps the report."""
        self._report = run(self.scenario, on_fact=self._heard, on_note=self._noted)
        return self._report

    def lines(self) -> Iterator[str]:
        """The run in a few lines, for people."""
        scenario, report = self.scenario, self._report
        shape = "x".join(map(str, self._tally.grid or ())) or "none"
        how = scheme(scenario.aggregation, scenario.exchange)
        yield (
            f"seed {scenario.seed}: {scenario.peers} peers, grid {shape}, {how}, {scenario.codec}, "
            f"{'overlap, ' if scenario.overlap else ''}"
            f"{scenario.iterations} iterations, {len(scenario.plan.faults)} faults planned"
        )
        yield from self._faults
        for iteration in self._tally.iterations:
            row = self._tally.row(iteration)
            accuracy = "-" if row.test_accuracy_mean is None else f"{row.test_accuracy_mean:.3f}"
            disagreement = "-" if row.disagreement is None else f"{row.disagreement:.1e}"
            yield (
                f"iteration {iteration}: {row.peers_alive - row.peers_skipped} finished, {row.peers_skipped} skipped, "
                f"groups {row.groups_complete} complete {row.groups_partial} partial, accuracy {accuracy}, "
                f"disagreement {disagreement}"
            )
        yield f"{report.finished} of {report.started} peers came to their end"
        yield f"virtual time {report.virtual_s:.3f} s, CPU time {report.cpu_s:.2f} s, trace {report.digest}"

    def summary(self, command: str, faults: str) -> Summary:
        """As `swarm` writes it; all seconds are virtual. `command`: what runs it again; `faults`: their
        name."""
        report = self._report
        counts = PeerCounts(started=report.started, finished=report.finished, lost=report.started - report.finished)
        return summarise(
            self.scenario.settings(),
            self.scenario.peers,
            self._tally,
            counts,
            command=command,
            churn_plan=faults,
            wall_seconds=report.virtual_s,
            pss=None,
        )

    def _heard(self, player: Player, fact: Fact) -> None:
        self._tally.add(player.index, fact)

    def _noted(self, noted: Noted) -> None:
        if noted.what.startswith(FAULT):
            self._faults.append(f"{noted.time:10.3f} s  {noted.what.removeprefix(FAULT)}")
        if self._trace is not None:
            self._trace.write(f"{noted}\n")


def open_trace(path: Path) -> TextIO:
    """Raises: ConfigError where it cannot be written."""
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError("trace", str(path), f"cannot be written ({error.strerror})") from error
