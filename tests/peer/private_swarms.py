"""Simulated swarms whose updates are private, and somebody who writes down all that leaves their hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import torch
from torch import Tensor, nn

from marfl_peer.lab.simulator.faults.tap import FrameTap
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.protocol.messages import AnyMessage, Part

FLOATS = 400
THETA, SERVER, CLIP = slice(0, FLOATS), slice(FLOATS, 2 * FLOATS), 2 * FLOATS


class _Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(FLOATS))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.theta


class Directions:
    """A `Task` whose gradient is the mean of its inputs: what a peer learns is what its data are."""

    name = "directions"

    def __init__(self, peers: int, *, length: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(11)
        self._inputs = length * torch.randn(peers, FLOATS, generator=generator)

    def build_model(self) -> nn.Module:
        return _Linear()

    def load(self, data_dir: Path | None) -> TaskData:
        labels = torch.zeros(len(self._inputs), dtype=torch.int64)
        return TaskData(train_inputs=self._inputs, train_labels=labels, test_inputs=self._inputs, test_labels=labels)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.mean()

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs < 0).sum()


@dataclass(slots=True, eq=False)
class Listener:
    """What every host sent: the messages, and of the exchanges' first rounds the vectors, as far as they were sent."""

    messages: list[tuple[int, AnyMessage]] = field(default_factory=list)
    vectors: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """By host and iteration; NaN where nothing was sent."""

    def tap(self, host: int, length: int) -> FrameTap:
        tap = FrameTap(lambda *_: None)

        def note(message: AnyMessage, frame: bytes) -> list[bytes]:
            self.messages.append((host, message))
            if isinstance(message, Part) and message.stage == "scatter" and message.name.round == 1:
                vector = self.vectors.setdefault((host, message.name.iteration), torch.full((length,), torch.nan))
                values = torch.frombuffer(bytearray(msgpack.unpackb(frame)[-1]), dtype=torch.float32)
                vector[message.offset // 4 :][: len(values)] = values
            return [frame]

        tap.rewrite = note
        return tap


@contextmanager
def swarm(
    folder: Path,
    *,
    peers: int = 4,
    group_size: int = 2,
    iterations: int = 3,
    length: float = 1.0,
    newcomers: int = 0,
    seed: int = 5,
    **settings: object,
) -> Iterator[tuple[Simulation, Listener]]:
    """Not started yet. All that a peer sends of its vector in round 1 is heard: groups gather all of it."""
    scenario = Scenario(seed=seed, peers=peers, group_size=group_size, iterations=iterations, shards=peers + newcomers)
    task = Directions(peers + newcomers, length=length)
    simulation = Simulation(scenario, folder=folder, task=(task, task.load(None)))
    simulation.settings = simulation.settings.adopt({"exchange": "all-gather", **settings})
    listener = Listener()
    vector_length = 2 * FLOATS + (1 if simulation.settings.dp_noise else 0)
    for player in simulation.players:
        player.host.tap = listener.tap(player.index, vector_length)
    try:
        yield simulation, listener
    finally:
        simulation.close()


def start_all(simulation: Simulation) -> None:
    for player in simulation.players:
        simulation.start(player)


def agreed_states(simulation: Simulation, note: Callable[[int, int, Tensor], None]) -> None:
    """Has `note(index, iteration, vector)` called with the agreed state of every peer after every iteration."""

    def on_fact(player: Player, fact: object) -> None:
        if type(fact).__name__ in ("IterationStarted", "PeerStopped") and player.peer is not None:
            state = player.peer._parts.states.agreed
            if state is not None:
                note(player.index, state.iteration, state.vector.clone())

    simulation.on_fact = on_fact
