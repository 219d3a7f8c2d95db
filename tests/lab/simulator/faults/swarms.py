"""A simulated swarm with a plan of faults, run to its end, and what there is to see of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from marfl_peer.facts import IterationFinished, IterationSkipped, RemoteFault
from marfl_peer.lab.simulator.faults.injector import Injector
from marfl_peer.lab.simulator.faults.plan import Fault, Plan
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.lab.simulator.world import Noted


@dataclass(slots=True)
class Outcome:
    simulation: Simulation
    happened: dict[str, int]
    notes: list[Noted]
    is_over: bool

    @property
    def players(self) -> list[Player]:
        return self.simulation.players

    def failures(self) -> list[str]:
        """What nobody took, and peers that ended with an error."""
        errors = [player.error for player in self.players if player.error is not None]
        return errors + [text for player in self.players for life in player.host.ended for text in life.loop.failures]

    def finished(self) -> list[int]:
        return [
            player.index
            for player in self.players
            if player.stopped is not None and player.stopped.reason == "finished"
        ]

    def times(self, what: str) -> list[float]:
        return [noted.time for noted in self.notes if noted.what.startswith(what)]


def iterations(player: Player) -> list[int]:
    return [fact.iteration for fact in player.facts if isinstance(fact, IterationFinished)]


def last_iteration(player: Player) -> int:
    """The last that it finished, or took from others."""
    facts = [fact for fact in player.facts if isinstance(fact, IterationFinished | IterationSkipped)]
    return facts[-1].iteration if facts else 0


def models(outcome: Outcome, iteration: int) -> set[tuple[float, ...]]:
    """The different models after an iteration."""
    facts = [fact for player in outcome.players for fact in player.facts if isinstance(fact, IterationFinished)]
    return {fact.projection for fact in facts if fact.iteration == iteration}


def remote_faults(outcome: Outcome) -> set[str]:
    return {fact.code for player in outcome.players for fact in player.facts if isinstance(fact, RemoteFault)}


@contextmanager
def played(scenario: Scenario) -> Iterator[Outcome]:
    """Runs it; look at the outcome inside the `with`."""
    notes: list[Noted] = []
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(scenario, folder=Path(folder), on_note=notes.append)
        injector = Injector(simulation)
        simulation.on_fact = injector.heard
        injector.arm()
        for player in [*simulation.players]:
            simulation.start(player)
        is_over = simulation.run(deadline=scenario.limit_s)
        try:
            yield Outcome(simulation, injector.happened, notes, is_over)
        finally:
            simulation.close()


def four(*faults: Fault, iterations: int = 4, peers: int = 4) -> Scenario:
    """A small swarm with these faults."""
    return Scenario(
        seed=1, peers=peers, iterations=iterations, batch_s=0.1, group_size=4, plan=Plan(faults=tuple(faults))
    )
