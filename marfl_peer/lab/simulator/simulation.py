"""A swarm in a world: N hosts that each run `Peer`, exactly the code that `join` runs.

Knows how a peer is set up and started; what goes wrong is `faults`' business, what must hold `invariants`'.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from marfl_peer.errors import MarflError
from marfl_peer.facts import Fact, PeerStopped
from marfl_peer.lab.baselines.registry import scheme_of
from marfl_peer.lab.simulator.host import Host, HostClock
from marfl_peer.lab.simulator.scenario import BOOTSTRAP_PEERS, Scenario
from marfl_peer.lab.simulator.timed import Timed, task_of
from marfl_peer.lab.simulator.world import Noted, World
from marfl_peer.learning.tasks.base import Task, TaskData
from marfl_peer.network.identity import KEY_FILE, pem_of
from marfl_peer.peer.peer import Peer

PORT = 7700


@dataclass(slots=True, eq=False)
class Player:
    """One member of the simulated swarm, through all its lives. `peer` is the running one's."""

    index: int
    host: Host
    peer: Peer | None = None
    stopped: PeerStopped | None = None
    error: str | None = None
    is_inside: bool = False
    """Whether it has entered the swarm."""
    was_asked_to_leave: bool = False
    facts: list[Fact] = field(default_factory=list)


class Simulation:
    """Its peers share the scenario's settings; address, bootstrap and state folder follow from the index."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        folder: Path,
        on_fact: Callable[[Player, Fact], None] | None = None,
        on_note: Callable[[Noted], None] | None = None,
        task: tuple[Task, TaskData] | None = None,
    ) -> None:
        """`task`: in place of the scenario's, with its data."""
        self.scenario = scenario
        self.world = World(scenario.seed, climate=scenario.climate, machine=scenario.machine, on_note=on_note)
        self.settings = scenario.settings()
        self._scheme = scheme_of(self.settings, peers=scenario.peers)
        self.on_fact = on_fact
        self._folder = folder
        self._task, self._data = task or task_of(scenario.task, shards=self.settings.shards)
        self._drifts = random.Random(f"{scenario.seed}/drift")
        self._to_come = 0
        self.players = [self._add() for _ in range(scenario.peers)]

    def _add(self) -> Player:
        index = len(self.world.hosts)
        disk = self._folder / f"peer-{index}"
        disk.mkdir(parents=True)
        host = self.world.add_host(disk, drift=self._drifts.uniform(-1.0, 1.0) * self.scenario.drift)
        (disk / KEY_FILE).write_bytes(_key(host))
        return Player(index, host)

    def add_newcomer(self) -> Player:
        """One more member, on a host of its own; it is not started."""
        player = self._add()
        self.players.append(player)
        return player

    def wipe(self, player: Player) -> None:
        """Its disk is empty, so that it is somebody else from its next start on."""
        disk = player.host.disk
        shutil.rmtree(disk)
        disk.mkdir()
        (disk / KEY_FILE).write_bytes(_key(player.host))
        self.world.note(player.host, "disk wiped")

    def expect(self, delay_s: float, step: Callable[[], None]) -> None:
        """Something will happen that may start a process: the run is not over before."""
        self._to_come += 1

        def happen() -> None:
            self._to_come -= 1
            step()

        self.world.after(delay_s, happen)

    def ask_to_leave(self, player: Player) -> None:
        """As SIGTERM: one that is in the swarm leaves it, one that is still entering is given up."""
        process = player.host.process
        if process is None:
            return
        self.world.note(player.host, "asked to leave")
        player.was_asked_to_leave = True

        def leave() -> None:
            if player.is_inside and player.peer is not None:
                player.peer.leave()
            elif process.main is not None:
                process.main.cancel()

        player.host.soon(leave)

    def start(self, player: Player) -> None:
        """Starts the peer's process, again if it ran before."""
        player.host.start(lambda: self._life(player))

    async def _life(self, player: Player) -> None:
        host, process = player.host, player.host.process
        player.stopped = player.error = None
        player.is_inside = player.was_asked_to_leave = False
        dial_only = self.scenario.dial_only
        known = [other for other in self.players if other.index not in dial_only][:BOOTSTRAP_PEERS]
        bootstrap = tuple(f"{other.host.address}:{PORT}" for other in known if other is not player)
        place = {"dial_only": True} if player.index in dial_only else {"host": host.address}
        settings = self.settings.adopt({**place, "port": PORT, "bootstrap": bootstrap, "state_dir": host.disk})

        def note(fact: Fact) -> None:
            if host.process is not process:  # what a process does while it is torn down did not happen
                return
            player.facts.append(fact)
            self.world.note(host, type(fact).__name__)
            if self.on_fact is not None:
                self.on_fact(player, fact)

        task = Timed(self._task, host.charge, self.scenario.batch_s)
        player.peer = peer = Peer(
            settings,
            task,
            data=self._data,
            sinks=[note],
            clock=HostClock(host),
            entropy=host.entropy,
            scheme=self._scheme,
        )
        try:
            async with peer:
                player.is_inside = True
                player.stopped = await peer.run()
        except MarflError as error:
            player.error = f"{error.code}: {error}"
        except Exception as error:
            player.error = f"failed: {error!r}"

    def run(self, *, deadline: float) -> bool:
        """Until every process is over; False where some still run at `deadline` (virtual seconds)."""
        return self.world.run(until=self._is_over, deadline=deadline)

    def _is_over(self) -> bool:
        return not self._to_come and all(player.host.process is None for player in self.players)

    def close(self) -> None:
        """Forgets all processes, also those that were cut off in the middle of something."""
        for player in self.players:
            player.peer = None
        self.world.close()


def _key(host: Host) -> bytes:
    return pem_of(Ed25519PrivateKey.from_private_bytes(host.entropy(32)))
