"""Whole peers on the virtual loop that average by one scheme or another, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from marfl_peer.facts import Fact, GroupFinished, RemoteFault
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.lab.tally import Tally
from marfl_peer.learning.tasks.base import TaskData

DEADLINE_S = 400.0

Happening = Callable[[Simulation, Player, Fact], None]
"""Sees every fact at its instant, and may do something to the world."""


class Bulk:
    """A model of nothing but weights, which every peer trains to something else, and data that cost no time."""

    name = "bulk"

    def __init__(self, floats: int, shards: int) -> None:
        self._floats, self._samples = floats, 2 * shards

    def build_model(self) -> nn.Module:
        return nn.Linear(self._floats, 1, bias=False)

    def load(self, data_dir: Path | None) -> TaskData:
        inputs = torch.arange(self._samples).float().unsqueeze(1)
        labels = torch.zeros(self._samples, dtype=torch.int64)
        return TaskData(train_inputs=inputs, train_labels=labels, test_inputs=inputs, test_labels=labels)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs.expand(-1, self._floats) / self._samples

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.mean()

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return torch.zeros(())


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """`models` [n]: the agreed states at the end, of those who came through, by their index."""

    tally: Tally
    models: dict[int, Tensor]
    groups: list[GroupFinished]
    is_over: bool

    @property
    def mean(self) -> Tensor:
        return torch.stack([*self.models.values()]).double().mean(0)

    def are_equal(self) -> bool:
        """Whether all models are the same bits."""
        return len({model.numpy().tobytes() for model in self.models.values()}) == 1


def play(
    folder: Path,
    aggregation: str,
    peers: int,
    *,
    iterations: int = 2,
    floats: int = 0,
    happening: Happening | None = None,
    **fields: object,
) -> Played:
    """`floats`: of a bulky model, in place of the small task; `fields`: of the scenario."""
    scenario = Scenario(seed=3, peers=peers, iterations=iterations, aggregation=aggregation, **fields)  # type: ignore[arg-type]
    tally = Tally()
    groups: list[GroupFinished] = []
    models: dict[int, Tensor] = {}
    task = Bulk(floats, scenario.settings().shards) if floats else None

    def heard(player: Player, fact: Fact) -> None:
        tally.add(player.index, fact)
        assert not isinstance(fact, RemoteFault), fact
        if isinstance(fact, GroupFinished):
            groups.append(fact)
        if player.peer is not None and player.is_inside:
            agreed = player.peer._parts.iterations.states.agreed
            if agreed is not None and agreed.iteration == iterations:
                models[player.index] = agreed.vector.clone()
        if happening is not None:
            happening(simulation, player, fact)

    given = None if task is None else (task, task.load(None))
    simulation = Simulation(scenario, folder=folder, on_fact=heard, task=given)
    for player in [*simulation.players]:
        simulation.start(player)
    is_over = simulation.run(deadline=DEADLINE_S)
    for player in simulation.players:
        assert player.error is None
        assert all(process.loop.failures == [] for process in player.host.ended)
    simulation.close()
    return Played(tally, models, groups, is_over)
