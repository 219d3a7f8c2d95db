"""The runs behind the table of costs: every directed scenario and the paper's drop-out, on the digits, each beside the
same run in peace. MAR-FL (arXiv 2512.05234) drops peers out before the rounds of an iteration.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from marfl_peer.facts import Fact
from marfl_peer.lab.simulator.costs import Cost, Figures, Meter, cost
from marfl_peer.lab.simulator.faults.directed import DIRECTED
from marfl_peer.lab.simulator.faults.plan import Crash, Fault, Hosts, Pause, Plan
from marfl_peer.lab.simulator.faults.triggers import OnFact
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player

PEERS, WITNESSES = 15, 3
SHARE = 0.2
QUIET = 4
"""So many iterations at the end pass without a fault, so that those who are away come back."""

Case = Callable[[int], Scenario]
"""The scenario of a seed."""


def absent_every_iteration(seed: int, *, iterations: int = 25) -> Scenario:
    """In each iteration 20% of the peers stand still from the end of their local update on, until they were missed."""
    return _again_and_again(
        seed, iterations, Pause(for_s=6.0), lambda t: OnFact(fact="LocalUpdateFinished", iteration=t)
    )


def killed_every_iteration(seed: int, *, iterations: int = 25) -> Scenario:
    """In each iteration 20% of the peers are killed when their group begins its exchange, in the first or the second
    round by turns, and started again a second later."""
    return _again_and_again(
        seed,
        iterations,
        Crash(restart_after_s=1.0),
        lambda t: OnFact(fact="GroupAgreed", iteration=t, nth=1 + t % 2),
    )


def _again_and_again(seed: int, iterations: int, what: Crash | Pause, when: Callable[[int], OnFact]) -> Scenario:
    """The victims of each iteration are drawn from all but the last peers, which are there to tell what it was like."""
    lots = random.Random(f"{seed}/victims")
    count = round(SHARE * PEERS)
    faults = tuple(
        Fault(what=what, when=when(t), who=Hosts(tuple(sorted(lots.sample(range(PEERS - WITNESSES), count)))))
        for t in range(2, iterations - QUIET + 1)
    )
    return Scenario(seed=seed, peers=PEERS, iterations=iterations, batch_s=1.0, plan=Plan(faults=faults))


def _directed(name: str) -> Case:
    return lambda seed: dataclasses.replace(DIRECTED[name], seed=seed)


CASES: Mapping[str, Case] = MappingProxyType(
    {
        **{name: _directed(name) for name in DIRECTED},
        "absent-every-iteration": absent_every_iteration,
        "killed-every-iteration": killed_every_iteration,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One case on one seed: what it cost, what the same run in peace came to, and what of the rules it broke.
    `strikes`: how many times a fault befell one of the `victims`."""

    case: str
    seed: int
    cost: Cost
    peace: Figures
    victims: tuple[int, ...]
    strikes: int
    broken: tuple[str, ...]
    cpu_s: float


@dataclass(frozen=True, slots=True)
class _Played:
    meter: Meter
    befell: Mapping[int, int]
    broken: tuple[str, ...]
    cpu_s: float


def on_task(scenario: Scenario, *, task: str, iterations: int) -> Scenario:
    """The scenario on that task, with at least so many iterations, tested once at its end; its data are cut into as
    many shards as in peace and with faults."""
    return dataclasses.replace(
        scenario,
        task=task,
        iterations=max(iterations, scenario.iterations),
        shards=scenario.settings().shards,
        tests_at_end=True,
    )


def trials(names: Sequence[str], seeds: Sequence[int], *, task: str, iterations: int) -> Iterator[Trial]:
    """All cases on all seeds, one after the other; a run in peace is made once for all cases that share it."""
    peaceful: dict[Scenario, _Played] = {}
    for name in names:
        for seed in seeds:
            scenario = on_task(CASES[name](seed), task=task, iterations=iterations)
            peace = dataclasses.replace(scenario, plan=Plan())
            if peace not in peaceful:
                peaceful[peace] = _play(peace)
            base, played = peaceful[peace], _play(scenario)
            victims = tuple(played.befell)
            base_figures = base.meter.figures(victims)
            yield Trial(
                case=name,
                seed=seed,
                cost=cost(played.meter.figures(victims), base_figures),
                peace=base_figures,
                victims=victims,
                strikes=sum(played.befell.values()),
                broken=(*base.broken, *played.broken),
                cpu_s=played.cpu_s,
            )


def _play(scenario: Scenario) -> _Played:
    meter = Meter(founders=scenario.peers, iterations=scenario.iterations)

    def heard(player: Player, fact: Fact) -> None:
        meter.add(player.index, fact, time=player.host.world.time)

    report = run(scenario, on_fact=heard)
    broken = tuple(f"{one.invariant}: {one.message}" for one in report.violations)
    return _Played(meter, report.befell, broken, report.cpu_s)
