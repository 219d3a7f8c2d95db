"""Processors that all processes share: callbacks take time, in turns; and a large group on a machine that has few."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from pathlib import Path

from marfl_peer.facts import ConnectionRefused, GroupFinished, PeerSeen
from marfl_peer.lab.bench.task import BenchTask
from marfl_peer.lab.simulator.cores import Machine
from marfl_peer.lab.simulator.host import Host
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Simulation
from marfl_peer.lab.simulator.world import World

PEERS = 20


def times_of(machine: Machine, *, hosts: int, callbacks: int) -> list[list[float]]:
    """When each process ran its callbacks, one of which asks for the next."""
    world = World(1, machine=machine)
    ran: list[list[float]] = [[] for _ in range(hosts)]

    async def life(index: int) -> None:
        for _ in range(callbacks):
            ran[index].append(world.time)
            await asyncio.sleep(0)

    def begin(host: Host) -> None:
        host.start(lambda: life(host.index))

    for index in range(hosts):
        begin(world.add_host(Path(f"/nowhere/{index}")))
    assert world.run(until=lambda: all(host.process is None for host in world.hosts), deadline=100.0)
    world.close()
    return ran


def test_callbacks_of_one_process_follow_each_other() -> None:
    (ran,) = times_of(Machine(cores=2, callback_s=0.25), hosts=1, callbacks=4)
    assert [after - before for before, after in pairwise(ran)] == [0.25] * 3


def test_processes_share_the_processors_in_turns() -> None:
    ran = times_of(Machine(cores=2, callback_s=0.25), hosts=4, callbacks=4)
    for times in ran:
        assert [after - before for before, after in pairwise(times)] == [0.5] * 3


def test_processor_each_is_as_fast_as_one_alone() -> None:
    alone = times_of(Machine(cores=1, callback_s=0.25), hosts=1, callbacks=4)
    assert times_of(Machine(cores=3, callback_s=0.25), hosts=3, callbacks=4) == alone * 3


def test_group_of_all_is_complete_on_a_machine_that_is_busy_with_its_handshakes(tmp_path: Path) -> None:
    """All dial all in the moment in which the swarm begins. Begun all at once no handshake was through in time: most
    were given up by the one side when the other had just seen them succeed, and no group was complete."""
    scenario = Scenario(
        seed=1,
        peers=PEERS,
        iterations=1,
        local_steps=1,
        batch_s=0.0,
        aggregation="fedavg",
        shards=PEERS,
        tests_at_end=True,
        machine=Machine(cores=2, callback_s=0.001),
    )
    task = BenchTask(500, PEERS)
    simulation = Simulation(scenario, folder=tmp_path, task=(task, task.load(None)))
    try:
        for player in simulation.players:
            simulation.start(player)
        assert simulation.run(deadline=300.0)
    finally:
        simulation.close()
    facts = [fact for player in simulation.players for fact in player.facts]
    assert Counter(fact.outcome for fact in facts if isinstance(fact, GroupFinished)) == {"complete": PEERS}
    assert [fact for fact in facts if isinstance(fact, ConnectionRefused)] == []
    assert [fact for fact in facts if isinstance(fact, PeerSeen) and fact.event == "lost"] == []
