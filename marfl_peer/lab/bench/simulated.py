"""Swarms of the scaling bench that are too large for one machine's processes: the same peers on simulated hosts.

What they send is what real ones send; how long it takes is not known, and nobody computes anything worth timing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from marfl_peer.config import Settings
from marfl_peer.errors import MarflError
from marfl_peer.facts import Fact, IterationFinished
from marfl_peer.lab.bench import figures
from marfl_peer.lab.bench.contest import Note
from marfl_peer.lab.bench.results import ScalingRun
from marfl_peer.lab.bench.task import BenchTask
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation

SEED = 1
LIMIT_S = 3600.0
"""Virtual seconds."""
VALUE_BYTES = 8
"""Theta and momentum in float32, half each."""


def simulate_scaling(settings: Settings, *, peers: int, vector_bytes: int, iterations: int, note: Note) -> ScalingRun:
    """Of `settings` group size, codec, scheme and the kind of exchange count.

    Raises: MarflError when not all came through.
    """
    scenario = Scenario(
        seed=SEED,
        peers=peers,
        group_size=settings.group_size,
        iterations=iterations,
        local_steps=1,
        batch_s=0.0,
        limit_s=LIMIT_S,
        exchange=settings.exchange,
        codec=settings.codec,
        aggregation=settings.aggregation,
        rounds=settings.rounds,
        shards=peers,
        tests_at_end=True,
    )
    task = BenchTask(vector_bytes // VALUE_BYTES, peers)
    finished: list[IterationFinished] = []

    def hear(player: Player, fact: Fact) -> None:
        if isinstance(fact, IterationFinished):
            finished.append(fact)
            note(f"simulated iteration {fact.iteration} of {iterations}", len(finished) / (peers * iterations))

    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(scenario, folder=Path(folder), on_fact=hear, task=(task, task.load(None)))
        try:
            for player in [*simulation.players]:
                simulation.start(player)
            simulation.run(deadline=LIMIT_S)
        finally:
            simulation.close()
    if len(finished) != peers * iterations or any(fact.peers != peers for fact in finished):
        raise MarflError(f"only {len(finished)} of {peers * iterations} simulated iterations came to their end")
    iterations_of_all = [[fact for fact in finished if fact.iteration == number + 1] for number in range(iterations)]
    return figures.counted(iterations_of_all, settings=settings, vector_bytes=vector_bytes, is_simulated=True)
