"""One simulated run from scenario to report: the swarm, its faults, and the checkers that watch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from marfl_peer.facts import Fact
from marfl_peer.lab.simulator.faults.injector import Injector
from marfl_peer.lab.simulator.invariants.watch import Watch
from marfl_peer.lab.simulator.report import Report
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.lab.simulator.world import Noted

MEMORY_DISK = Path("/dev/shm")  # a folder in memory where there is one: disks of hosts are small


def run(
    scenario: Scenario,
    *,
    on_fact: Callable[[Player, Fact], None] | None = None,
    on_note: Callable[[Noted], None] | None = None,
) -> Report:
    """Runs the scenario to its end. Never raises for what the swarm does: that is in the report."""
    started = time.process_time()
    report = Report(seed=scenario.seed, peers=scenario.peers)
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None) as folder:
        watch = Watch(scenario)

        def noted(note: Noted) -> None:
            watch.note(note)
            if on_note is not None:
                on_note(note)

        simulation = Simulation(scenario, folder=Path(folder), on_note=noted)
        watch.attach(simulation)
        injector = Injector(simulation)

        def heard(player: Player, fact: Fact) -> None:
            watch.fact(player, fact)
            if on_fact is not None:
                on_fact(player, fact)
            injector.heard(player, fact)  # last: what it does may be the end of the player

        simulation.on_fact = heard
        injector.arm()
        try:
            for player in [*simulation.players]:
                simulation.start(player)
            simulation.run(deadline=scenario.limit_s)
            watch.over()
        finally:
            simulation.close()
    report.violations = watch.violations
    report.digest = simulation.world.digest
    report.virtual_s = simulation.world.time
    report.started = len(simulation.players)
    report.finished = sum(player.stopped is not None for player in simulation.players)
    report.coverage.update(injector.happened)
    report.befell = dict(sorted(injector.befell.items()))
    report.cpu_s = time.process_time() - started
    return report
