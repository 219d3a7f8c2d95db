"""A group-mate that attacks: how much can it really tell of what it receives, and is that less than the epsilon stated?

python scripts/privacy_attack.py --noise 1 --iterations 2000
runs two simulated swarms of two peers: in one the victim's data pull its update as far as they can, in one particular
direction, in the other they do nothing. The mate, who knows that direction (the worst case), writes down every vector
it receives in the exchange, subtracts the agreed state, undoes the server momentum, and tests by the likelihood ratio
which of the two it sees: of one release, and of several in a row. From how often it is right follows an epsilon that
the protocol has at least, with a confidence of 95% (Clopper and Pearson). Exits with 1 where that is above the
epsilon stated. The same is done without differential privacy, where nothing but the number of trials limits it.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import torch
from scipy import stats
from torch import Tensor, nn

from marfl_peer.lab.simulator.faults.tap import FrameTap
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.learning.privacy.accountant import epsilon, tight_epsilon
from marfl_peer.learning.privacy.mechanism import Mechanism, threshold_of
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.protocol.messages import AnyMessage, Part

FLOATS = 100
PULL = 100.0
"""How far the data pull: far beyond any threshold."""
CONFIDENCE = 0.95
DELTA = 1e-5


class _Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(FLOATS))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.theta


class Pull:
    """A `Task` whose gradient is `direction` [FLOATS]."""

    name = "pull"

    def __init__(self, direction: Tensor) -> None:
        self._inputs = direction.repeat(2, 1)

    def build_model(self) -> nn.Module:
        return _Flat()

    def load(self, data_dir: Path | None) -> TaskData:
        labels = torch.zeros(2, dtype=torch.int64)
        return TaskData(train_inputs=self._inputs, train_labels=labels, test_inputs=self._inputs, test_labels=labels)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.mean()

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return torch.zeros(())


def direction() -> Tensor:
    """[FLOATS]: which way the victim's data pull, against the gradient; of length 1."""
    drawn = torch.randn(FLOATS, generator=torch.Generator().manual_seed(3))
    return drawn / drawn.norm()


@dataclass(slots=True, eq=False)
class Mate:
    """What the mate has: every vector that the victim sent it, with the agreed state that it held itself by then."""

    player: Player
    received: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def tap(self) -> FrameTap:
        """Put it on the victim's host: it hears what is sent to the mate, the only other peer."""
        tap = FrameTap(lambda *_: None)

        def note(message: AnyMessage, frame: bytes) -> list[bytes]:
            if isinstance(message, Part) and message.stage == "scatter":
                vector, _ = self.received.setdefault(message.name.iteration, self._room())
                values = torch.frombuffer(bytearray(msgpack.unpackb(frame)[-1]), dtype=torch.float32)
                vector[message.offset // 4 :][: len(values)] = values
            return [frame]

        tap.rewrite = note
        return tap

    def _room(self) -> tuple[Tensor, Tensor]:
        assert self.player.peer is not None
        agreed = self.player.peer._parts.states.agreed
        assert agreed is not None
        return torch.full_like(agreed.vector, torch.nan), agreed.vector.clone()


def overheard(noise: float, *, has_data: bool, iterations: int, seed: int) -> list[float]:
    """The logarithm of the likelihood ratio, data against none, of every release of one swarm's victim.

    Without noise, where there is no likelihood, it is how far the update goes in the direction.
    """
    scenario = Scenario(
        seed=seed, peers=2, group_size=2, iterations=iterations, shards=2, exchange="all-gather", limit_s=1e6
    )
    task = Pull(-PULL * direction() if has_data else torch.zeros(FLOATS))
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(scenario, folder=Path(folder), task=(task, task.load(None)))
        simulation.settings = simulation.settings.adopt({"dp_noise": noise, "save_every": iterations})
        victim, mate = simulation.players[0], Mate(simulation.players[1])
        victim.host.tap = mate.tap()
        for player in simulation.players:
            simulation.start(player)
        simulation.run(deadline=scenario.limit_s)
        assert victim.peer is not None
        schema = victim.peer._parts.learner.schema
        simulation.close()
    ratios = []
    for _, (vector, before) in sorted(mate.received.items()):
        if not noise:
            ratios.append(float((vector - before)[:FLOATS] @ direction()))
            continue
        clip, mechanism = threshold_of(schema, before), Mechanism.of(simulation.settings)
        momentum = slice(FLOATS, 2 * FLOATS)
        update = vector[momentum].double() - mechanism.server_momentum * before[momentum].double()
        variance = (mechanism.update_noise * clip) ** 2
        ratios.append(float((update @ direction().double()) * clip - clip**2 / 2) / variance)
    return ratios


def least_epsilon(with_data: Sequence[float], without: Sequence[float], *, delta: float) -> float:
    """An epsilon that whoever produced these scores has at least, with 95% confidence; 0 where nothing can be said.

    The bound between "data" and "none" is chosen on the first half of the scores and judged on the second.
    """
    half = min(len(with_data), len(without)) // 2
    candidates = sorted({*with_data[:half], *without[:half]})
    bound = max(candidates, key=lambda at: _bound(with_data[:half], without[:half], at, delta))
    return _bound(with_data[half:], without[half:], bound, delta)


def _bound(with_data: Sequence[float], without: Sequence[float], at: float, delta: float) -> float:
    hits, alarms = sum(score >= at for score in with_data), sum(score >= at for score in without)
    told = _rate(hits, len(with_data), highest=False) - delta
    return max(0.0, math.log(told / _rate(alarms, len(without), highest=True))) if told > 0 else 0.0


def _rate(count: int, trials: int, *, highest: bool) -> float:
    """Clopper and Pearson's bound of a rate; both of a pair hold with the confidence."""
    tail = (1.0 - CONFIDENCE) / 2
    if highest:
        return 1.0 if count == trials else float(stats.beta.ppf(1.0 - tail, count + 1, trials - count))
    return 0.0 if count == 0 else float(stats.beta.ppf(tail, count, trials - count + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Of so many `releases` in a row: what the attack shows, and what is stated."""

    releases: int
    shown: float
    stated: float
    tight: float


def attack(noise: float, *, iterations: int, seed: int, together: Sequence[int]) -> list[Finding]:
    """Both swarms, and what the mate can tell from 1, or several, releases. `stated` is infinite without noise."""
    with_data = overheard(noise, has_data=True, iterations=iterations, seed=seed)
    without = overheard(noise, has_data=False, iterations=iterations, seed=seed + 1)
    findings = []
    for count in together:
        sums = [
            [sum(scores[at : at + count]) for at in range(0, len(scores) - count + 1, count)]
            for scores in (with_data, without)
        ]
        findings.append(
            Finding(
                releases=count,
                shown=least_epsilon(*sums, delta=DELTA),
                stated=epsilon([(noise, count)], delta=DELTA) if noise else math.inf,
                tight=tight_epsilon([(noise, count)], delta=DELTA) if noise else math.inf,
            )
        )
    return findings


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", type=float, nargs="+", default=[1.0, 0.0])
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    print("| z | releases | epsilon shown, at least | by loss distribution | stated |")
    print("| --- | --- | --- | --- | --- |")
    held = True
    for noise in options.noise:
        for found in attack(noise, iterations=options.iterations, seed=options.seed, together=options.together):
            held = held and found.shown <= found.tight
            print(
                f"| {noise:g} | {found.releases} | {found.shown:.2f} | {found.tight:.2f} | {found.stated:.2f} |",
                flush=True,
            )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
