"""Swarms of the scaling bench that are too large for one machine's processes: the same peers on simulated hosts.

What they send is what real ones send; how long it takes is not known, and nobody computes anything worth timing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import fmean

from marfl_peer.config import Settings
from marfl_peer.errors import MarflError
from marfl_peer.facts import Fact, IterationFinished
from marfl_peer.lab.bench.contest import Note
from marfl_peer.lab.bench.formulas import formulas
from marfl_peer.lab.bench.results import ScalingRun
from marfl_peer.lab.bench.task import BenchTask
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.lab.tally import BYTE_KINDS
from marfl_peer.protocol.grid import Grid

SEED = 1
LIMIT_S = 3600.0
"""Virtual seconds."""
VALUE_BYTES = 8
"""Theta and momentum in float32, half each."""


def simulate_scaling(settings: Settings, *, peers: int, vector_bytes: int, iterations: int, note: Note) -> ScalingRun:
    """Of `settings` group size, codec and the kind of exchange count. Raises: MarflError when not all came through."""
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
    sent = _bytes_by_kind(finished)
    return ScalingRun(
        peers=peers,
        is_simulated=True,
        group_size=settings.group_size,
        grid=Grid.for_peers(peers, settings.group_size).shape,
        iterations=iterations,
        bytes_sent_per_peer_per_iteration=sum(sent.values()),
        bytes_sent=sent,
        bytes_sent_first_iteration=_bytes_by_kind([fact for fact in finished if fact.iteration == 1]),
        bytes_sent_last_iteration=_bytes_by_kind([fact for fact in finished if fact.iteration == iterations]),
        seconds_per_iteration=None,
        seconds_first_iteration=None,
        startup_seconds=None,
        pss_mib_max=None,
        pss_mib_total=None,
        dht_lookups_per_peer_per_iteration=fmean(fact.dht_lookups for fact in finished),
        groups_partial=sum(fact.groups_partial for fact in finished),
        error=None,
        formulas=formulas(peers, settings.group_size, vector_bytes),
    )


def _bytes_by_kind(finished: list[IterationFinished]) -> dict[str, float]:
    """Of a peer in an iteration, on average."""
    return {kind: fmean(fact.bytes_sent.get(kind, 0) for fact in finished) for kind in BYTE_KINDS}
