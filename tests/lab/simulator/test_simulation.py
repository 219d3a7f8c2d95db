"""A simulated swarm: real peers that find each other, train and average; killed ones come back with their disk."""

from __future__ import annotations

from pathlib import Path

from marfl_peer.facts import Fact, IterationFinished, PeerSeen, PeerStarted
from marfl_peer.lab.bench.task import BenchTask
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation


def _iterations(player: Player) -> list[int]:
    return [fact.iteration for fact in player.facts if isinstance(fact, IterationFinished)]


def test_simulated_peers_finish_every_iteration_with_equal_models(tmp_path: Path) -> None:
    told: list[tuple[int, Fact]] = []
    simulation = Simulation(
        Scenario(seed=3, peers=5, group_size=3, iterations=3),
        folder=tmp_path,
        on_fact=lambda player, fact: told.append((player.index, fact)),
    )
    for player in simulation.players:
        simulation.start(player)
    assert simulation.run(deadline=100.0)
    for player in simulation.players:
        assert player.error is None
        assert player.stopped is not None
        assert player.stopped.reason == "finished"
        assert _iterations(player) == [1, 2, 3]
        assert player.host.ended[0].loop.failures == []
    last = {fact.projection for _, fact in told if isinstance(fact, IterationFinished) and fact.iteration == 3}
    assert len(last) == 1
    simulation.close()


def test_killed_peer_comes_back_with_its_identity(tmp_path: Path) -> None:
    simulation = Simulation(Scenario(seed=4, peers=4, iterations=12), folder=tmp_path)
    victim, others = simulation.players[3], simulation.players[:3]
    for player in simulation.players:
        simulation.start(player)
    simulation.world.call(2.0, victim.host.crash)
    simulation.world.call(3.0, lambda: simulation.start(victim))
    assert simulation.run(deadline=300.0)
    starts = [fact for fact in victim.facts if isinstance(fact, PeerStarted)]
    assert [fact.incarnation for fact in starts] == [1, 2]
    assert len({fact.peer_id for fact in starts}) == 1
    assert _iterations(victim)[-1] == 12
    for player in others:
        assert _iterations(player) == list(range(1, 13))
        assert any(isinstance(fact, PeerSeen) and fact.event == "lost" for fact in player.facts)
    simulation.close()


def test_task_may_be_given_with_its_data(tmp_path: Path) -> None:
    task = BenchTask(12, 2)
    simulation = Simulation(
        Scenario(seed=5, peers=2, iterations=1, shards=2), folder=tmp_path, task=(task, task.load(None))
    )
    for player in simulation.players:
        simulation.start(player)
    assert simulation.run(deadline=100.0)
    assert [player.stopped is not None and player.stopped.reason for player in simulation.players] == ["finished"] * 2
    simulation.close()
