"""Swarms whose updates run beside their exchanges: what they come to by hand, and that every promise holds whatever
befalls them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lines import POINTS, START

from marfl_peer.facts import (
    Fact,
    GroupFinished,
    IterationFinished,
    LocalUpdateFinished,
    StateFetched,
    StateResumed,
)
from marfl_peer.lab.simulator.faults.directed import DIRECTED
from marfl_peer.lab.simulator.faults.drawing import draw
from marfl_peer.lab.simulator.faults.exhaustive import exhaustive
from marfl_peer.lab.simulator.faults.plan import Crash, Fault, Hosts, Newcomers, Pause, Plan
from marfl_peer.lab.simulator.faults.triggers import At, OnFact
from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.network import WAN
from marfl_peer.lab.simulator.report import Report
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation

OVERLAP = Scenario(seed=5, peers=6, group_size=3, iterations=5, overlap=True)


@dataclass(frozen=True)
class Seen:
    """A fact of a player, and what could be seen of it then."""

    index: int
    fact: Fact
    is_beside: bool
    agreed: Any
    model: Any


def watched(scenario: Scenario) -> tuple[Report, list[Seen]]:
    seen: list[Seen] = []

    def note(player: Player, fact: Fact) -> None:
        peer = player.peer
        if peer is not None and isinstance(fact, LocalUpdateFinished | IterationFinished | StateFetched | StateResumed):
            beside = sight.trains_beside(peer)
            seen.append(Seen(player.index, fact, beside, sight.agreed_vector(peer), sight.model_vector(peer)))

    report = run(scenario, on_fact=note)
    assert [f"{one.invariant}: {one.message}" for one in report.violations] == []
    return report, seen


def made_beside(seen: list[Seen], index: int) -> list[int]:
    """The iterations whose update a player made beside the exchange before."""
    return [
        one.fact.iteration
        for one in seen
        if one.index == index and isinstance(one.fact, LocalUpdateFinished) and one.is_beside
    ]


# by hand


def two_peers(
    folder: Path, *, overlap: bool, **settings: object
) -> tuple[Simulation, list[tuple[int, Fact, Any, Any]]]:
    """Each has one point; all that they tell, with the vector that each brought to the iteration's only round and the
    state that it agreed on."""
    scenario = Scenario(seed=1, peers=2, iterations=6, local_steps=2, task="lines:task", shards=2, overlap=overlap)
    told: list[tuple[int, Fact, Any, Any]] = []

    def note(player: Player, fact: Fact) -> None:
        assert player.peer is not None
        if isinstance(fact, GroupFinished):
            rounds = sight.rounds_of(player.peer, fact.iteration)
            assert rounds is not None
            own = sight.own_update(rounds)
            assert own is not None
            told.append((player.index, fact, own[1], None))
        elif isinstance(fact, IterationFinished):
            told.append((player.index, fact, None, sight.agreed_vector(player.peer)))

    simulation = Simulation(scenario, folder=folder, on_fact=note)
    simulation.settings = simulation.settings.adopt(settings)
    for player in simulation.players:
        simulation.start(player)
    assert simulation.run(deadline=100.0)
    return simulation, told


def steps(state: np.ndarray, point: tuple[float, float], *, lr: float, mu: float) -> np.ndarray:
    """Two steps of the paper's momentum SGD on (theta, m)."""
    theta, m = state
    x, y = point
    for _ in range(2):
        m = mu * m + (1 - mu) * (theta * x - y) * x
        theta = theta - lr * m
    return np.array([theta, m])


@pytest.mark.parametrize("overlap", [False, True])
def test_two_peers_come_to_what_the_formula_gives_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlap: bool
) -> None:
    simulation, told = two_peers(tmp_path, overlap=overlap, lr=0.2, momentum=0.5)
    points = []
    for player in simulation.players:
        assert player.peer is not None
        [index] = player.peer.trainer.shard.train_indices.tolist()
        points.append(POINTS[index])
    assert sorted(points) == sorted(POINTS)
    trained_from = [np.array([START, 0.0])] * 2
    agreed = before = np.array([START, 0.0])
    snapshots = [before, before]
    for iteration in range(1, 7):
        updates = [steps(start, point, lr=0.2, mu=0.5) for start, point in zip(trained_from, points, strict=True)]
        if overlap and iteration > 1:
            snapshots = [update + (agreed - snapshot) for update, snapshot in zip(updates, snapshots, strict=True)]
        else:
            snapshots = updates
        agreed = (snapshots[0] + snapshots[1]) / 2
        trained_from = snapshots if overlap else [agreed, agreed]
        for index in (0, 1):
            [brought] = [own for who, fact, own, _ in told if who == index and is_round(fact, iteration)]
            [held] = [state for who, fact, _, state in told if who == index and is_end(fact, iteration)]
            assert brought == pytest.approx(snapshots[index], abs=1e-6), iteration
            assert held == pytest.approx(agreed, abs=1e-6), iteration
    for player in simulation.players:
        assert player.peer is not None
        assert sight.model_vector(player.peer) == pytest.approx(agreed, abs=1e-6), (
            "the run ends with what was agreed on"
        )
    simulation.close()


def is_round(fact: Fact, iteration: int) -> bool:
    return isinstance(fact, GroupFinished) and fact.iteration == iteration


def is_end(fact: Fact, iteration: int) -> bool:
    return isinstance(fact, IterationFinished) and fact.iteration == iteration


def test_who_is_alone_learns_the_same_bits_as_without_overlap_also_when_it_is_killed() -> None:
    """What it brings is what comes back: nothing is to be corrected. And what it lost with a kill it trains again."""
    restarts = Plan(
        faults=tuple(
            Fault(what=Crash(restart_after_s=0.2), when=OnFact(fact=fact, iteration=iteration), who=Hosts((0,)))
            for fact, iteration in (("IterationFinished", 2), ("LocalUpdateFinished", 4), ("StateSaved", 5))
        )
    )
    alone = replace(OVERLAP, peers=1, iterations=7)
    ends = []
    for scenario in (alone, replace(alone, overlap=False), replace(alone, plan=restarts)):
        _, seen = watched(scenario)
        ends.append([one.agreed for one in seen if is_end(one.fact, 7)][-1])
    assert seen_resuming(seen) == [1, 3, 5]
    assert ends[0].tobytes() == ends[1].tobytes() == ends[2].tobytes()


def seen_resuming(seen: list[Seen]) -> list[int]:
    return [one.fact.iteration for one in seen if isinstance(one.fact, StateResumed)]


# in peace


@pytest.mark.parametrize("peers", [2, 5, 9])
@pytest.mark.parametrize(
    ("batch_s", "codec"), [(0.2, "float32"), (0.001, "float32"), (0.2, "theta=int8,momentum=int4")]
)
def test_swarm_agrees_bit_for_bit_whichever_takes_longer(peers: int, batch_s: float, codec: str) -> None:
    """On slow links the exchange does, where mini-batches are short."""
    scenario = replace(OVERLAP, peers=peers, batch_s=batch_s, codec=codec, climate=WAN)
    report, seen = watched(scenario)
    assert report.finished == peers
    for index in range(peers):
        assert made_beside(seen, index) == [2, 3, 4, 5]
    for iteration in range(1, 6):
        assert len({one.agreed.tobytes() for one in seen if is_end(one.fact, iteration)}) == 1
    last = [one for one in seen if is_end(one.fact, 5)]
    assert all(one.model.tobytes() == one.agreed.tobytes() for one in last)


def test_update_is_told_in_its_own_iteration_and_the_exchange_costs_no_time_of_its_own() -> None:
    """0.4 s of training hide the exchanges on links of 30 ms, all but the last."""
    durations = {}
    for overlap in (False, True):
        report, seen = watched(replace(OVERLAP, climate=WAN, overlap=overlap))
        durations[overlap] = report.virtual_s
        told = [(type(one.fact).__name__, one.fact.iteration) for one in seen if one.index == 0]
        assert told == [(name, t) for t in range(1, 6) for name in ("LocalUpdateFinished", "IterationFinished")]
    assert durations[True] < durations[False] - 0.5


@pytest.mark.parametrize("stage", ["participation_update", "participation_aggregate"])
def test_who_takes_no_part_brings_the_agreed_state_and_goes_on_from_it(tmp_path: Path, stage: str) -> None:
    ends: dict[int, list[tuple[int, bytes]]] = {}
    batches: dict[int, list[int]] = {}

    def note(player: Player, fact: Fact) -> None:
        assert player.peer is not None
        if isinstance(fact, IterationFinished):
            state = sight.agreed_vector(player.peer)
            assert state is not None
            ends.setdefault(fact.iteration, []).append((fact.weight, state.tobytes()))
        elif isinstance(fact, LocalUpdateFinished):
            batches.setdefault(fact.iteration, []).append(fact.batches)

    simulation = Simulation(replace(OVERLAP, shards=6), folder=tmp_path, on_fact=note)
    simulation.settings = simulation.settings.adopt({stage: 0.5})
    for player in simulation.players:
        simulation.start(player)
    assert simulation.run(deadline=100.0)
    for iteration in range(1, 6):
        [(weight, _)] = set(ends[iteration])
        assert len(ends[iteration]) == 6
        assert weight == 3 * 240 // 6
        assert sorted(batches[iteration]) == ([0, 0, 0, 2, 2, 2] if stage == "participation_update" else [2] * 6)
    simulation.close()


def test_hashed_groups_come_close(tmp_path: Path) -> None:
    simulation = Simulation(OVERLAP, folder=tmp_path)
    simulation.settings = simulation.settings.adopt({"placement": "hashed", "buckets": 2, "rounds": 6})
    for player in simulation.players:
        simulation.start(player)
    assert simulation.run(deadline=200.0)
    states = []
    for player in simulation.players:
        assert player.stopped is not None
        assert player.stopped.reason == "finished"
        assert player.peer is not None
        states.append(sight.model_vector(player.peer))
    assert np.abs(np.stack(states) - states[0]).max() < 0.05
    simulation.close()


# when things go wrong


def test_late_peer_gives_its_update_up_and_trains_first_from_the_state_that_it_takes() -> None:
    pause = Fault(what=Pause(for_s=6.0), when=OnFact(fact="IterationStarted", iteration=3), who=Hosts((4,)))
    report, seen = watched(replace(OVERLAP, iterations=12, batch_s=0.6, plan=Plan(faults=(pause,))))
    assert report.finished == 6
    own = [one for one in seen if one.index == 4]
    *_, taken = [one.fact.iteration for one in own if isinstance(one.fact, StateFetched)]
    assert taken > 3
    beside = made_beside(seen, 4)
    assert taken + 1 not in beside
    assert taken + 2 in beside
    assert [one.fact.iteration for one in own if isinstance(one.fact, LocalUpdateFinished)][-1] == 12


def test_newcomer_trains_first_and_then_beside_its_exchanges() -> None:
    newcomer = Fault(what=Newcomers(count=1), when=At(time_s=1.0))
    report, seen = watched(replace(OVERLAP, iterations=12, plan=Plan(faults=(newcomer,))))
    assert report.finished == 7
    updates = [one.fact.iteration for one in seen if one.index == 6 and isinstance(one.fact, LocalUpdateFinished)]
    assert updates == list(range(updates[0], 13))
    assert made_beside(seen, 6) == updates[1:]


@pytest.mark.parametrize(
    "fact", ["IterationStarted", "GroupAgreed", "GroupFinished", "IterationFinished", "StateSaved"]
)
def test_whole_swarm_that_is_killed_goes_on_from_what_it_agreed_on(fact: str) -> None:
    faults = tuple(
        Fault(what=Crash(restart_after_s=1.0), when=OnFact(fact=fact, iteration=3), who=Hosts((index,)))
        for index in range(3)
    )
    report, seen = watched(replace(OVERLAP, peers=3, iterations=6, plan=Plan(faults=faults)))
    assert report.finished == 3
    assert len(seen_resuming(seen)) == 3
    assert set(seen_resuming(seen)) <= {1, 2, 3}


@pytest.mark.parametrize(
    "scenario",
    list(exhaustive([replace(OVERLAP, peers=3, batch_s=0.1), replace(OVERLAP, peers=4, group_size=2)], stride=19)),
    ids=lambda scenario: str(scenario.plan.faults[0]),
)
def test_crash_at_a_boundary_of_an_overlapped_exchange(scenario: Scenario) -> None:
    report, _ = watched(scenario)
    assert report.started - report.finished <= 1


@pytest.mark.parametrize("seed", [1, 3, 8, 13, 21, 34, 1_000_007])
def test_seeds_hold(seed: int) -> None:
    _, seen = watched(draw(seed, overlap=True))
    assert any(made_beside(seen, index) for index in range(20))


@pytest.mark.parametrize(("seed", "peers", "group_size"), [(6, 6, 2), (5, 5, 3)])
def test_parts_that_merge_bring_their_updates(seed: int, peers: int, group_size: int) -> None:
    """In the first, the part that is behind leaves a number out; in the second, one peer is a part of its own."""
    split = replace(DIRECTED["split-swarm"], seed=seed, peers=peers, group_size=group_size, overlap=True)
    report, seen = watched(split)
    assert report.finished == peers
    for index in range(peers):
        assert len(made_beside(seen, index)) > 15


def test_update_that_is_not_finite_counts_nothing_and_is_mended_by_the_agreed_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is not finite once would stay so: what is added to it makes nothing finite."""
    weights: dict[int, int] = {}

    def note(player: Player, fact: Fact) -> None:
        assert player.peer is not None
        if isinstance(fact, LocalUpdateFinished) and (player.index, fact.iteration) == (1, 3):
            for parameter in player.peer.model.parameters():
                parameter.data.fill_(float("nan"))
        elif isinstance(fact, IterationFinished) and player.index == 0:
            weights[fact.iteration] = fact.weight

    simulation = Simulation(replace(OVERLAP, shards=6), folder=tmp_path, on_fact=note)
    for player in simulation.players:
        simulation.start(player)
    assert simulation.run(deadline=100.0)
    assert weights == {1: 240, 2: 240, 3: 200, 4: 240, 5: 240}
    simulation.close()
