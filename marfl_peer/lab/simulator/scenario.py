"""What one simulated run is: the seed, the swarm, the weather, and the faults that befall it. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

from marfl_peer.config import Settings
from marfl_peer.lab.simulator.cores import Machine
from marfl_peer.lab.simulator.faults.plan import Plan
from marfl_peer.lab.simulator.network import LAN, Climate

BOOTSTRAP_PEERS = 2
"""The first peers, from which all others start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`peers` founding members run `iterations`; a mini-batch takes `batch_s` virtual seconds; all that is still
    running `limit_s` virtual seconds after the start has failed."""

    seed: int
    peers: int = 8
    group_size: int = 4
    iterations: int = 6
    local_steps: int = 2
    batch_s: float = 0.2
    limit_s: float = 1800.0
    exchange: str = "butterfly"
    aggregation: str = "mar"
    rounds: int = 0
    vector: str = "theta+momentum"
    codec: str = "float32"
    overlap: bool = False
    mkd_iterations: int = 0
    mkd_codec: str = "float32"
    mkd_ranking: str = "outputs"
    participation_update: float = 1.0
    dial_only: tuple[int, ...] = ()
    """Indices of peers that nobody can dial."""
    climate: Climate = LAN
    machine: Machine | None = None
    """That all peers share; None: each has one of its own, on which computing takes no time but a mini-batch's."""
    drift: float = 0.0
    """Clocks run up to so much faster or slower."""
    task: str = "blobs"
    shards: int | None = None
    """None: enough for all who may come, twice the founders and the newcomers."""
    tests_at_end: bool = False
    """The whole test set once, after the last iteration, in place of every peer's share of it after each."""
    trace_mixing: bool = False
    plan: Plan = field(default_factory=Plan)

    def settings(self) -> Settings:
        """What all peers of the run share, and how patient they are."""
        return Settings(
            run_id=f"simulated-{self.seed}",
            task=self.task,
            group_size=self.group_size,
            iterations=self.iterations,
            seed=self.seed % 2**32,
            local_steps=self.local_steps,
            batch_size=8,
            shards=2 * self.peers + self.plan.newcomers if self.shards is None else self.shards,
            evaluate="full" if self.tests_at_end else "share",
            evaluate_every=self.iterations if self.tests_at_end else 1,
            exchange=self.exchange,  # type: ignore[arg-type]  # `Settings` tests it
            codec=self.codec,
            aggregation=self.aggregation,
            rounds=self.rounds,
            vector=self.vector,  # type: ignore[arg-type]  # the same
            overlap=self.overlap,
            trace_mixing=self.trace_mixing,
            mkd_iterations=self.mkd_iterations,
            mkd_codec=self.mkd_codec,  # type: ignore[arg-type]  # `Settings` tests it
            mkd_ranking=self.mkd_ranking,  # type: ignore[arg-type]  # `Settings` tests it
            participation_update=self.participation_update,
            wait_for=self.peers,
        )
