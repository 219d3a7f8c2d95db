"""One simulated run from scenario to report: the swarm, its faults, and the checkers that watch."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from marfl_peer.lab.simulator.invariants.watch import Watch
from marfl_peer.lab.simulator.report import Report
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Simulation

MEMORY_DISK = Path("/dev/shm")  # a folder in memory where there is one: disks of hosts are small


def run(scenario: Scenario) -> Report:
    """Runs the scenario to its end. Never raises for what the swarm does: that is in the report."""
    started = time.process_time()
    report = Report(seed=scenario.seed, peers=scenario.peers)
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None) as folder:
        watch = Watch(scenario)
        simulation = Simulation(scenario, folder=Path(folder), on_fact=watch.fact, on_note=watch.note)
        watch.attach(simulation)
        try:
            for player in simulation.players:
                simulation.start(player)
            simulation.run(deadline=scenario.limit_s)
            watch.over()
        finally:
            simulation.close()
    report.violations = watch.violations
    report.digest = simulation.world.digest
    report.virtual_s = simulation.world.time
    report.finished = sum(player.stopped is not None for player in simulation.players)
    report.cpu_s = time.process_time() - started
    return report
