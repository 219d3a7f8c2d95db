"""A swarm in a world: N hosts that each run `Peer`, exactly the code that `join` runs.

Knows how a peer is set up and started; what goes wrong is `faults`' business, what must hold `invariants`'.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from marfl_peer.errors import MarflError
from marfl_peer.facts import Fact, PeerStopped
from marfl_peer.lab.simulator.blobs import Blobs, blobs
from marfl_peer.lab.simulator.host import Host, HostClock
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.world import Noted, World
from marfl_peer.network.identity import KEY_FILE
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
    ) -> None:
        self.scenario = scenario
        self.world = World(scenario.seed, climate=scenario.climate, on_note=on_note)
        self.settings = scenario.settings()
        self.on_fact = on_fact
        self._folder = folder
        self._data = blobs()
        self._drifts = random.Random(f"{scenario.seed}/drift")
        self.players = [self.add() for _ in range(scenario.peers)]

    def add(self) -> Player:
        """One more member, on a host of its own; it is not started."""
        index = len(self.world.hosts)
        disk = self._folder / f"peer-{index}"
        disk.mkdir(parents=True)
        host = self.world.add_host(disk, drift=self._drifts.uniform(-1.0, 1.0) * self.scenario.drift)
        (disk / KEY_FILE).write_bytes(_key(host))
        return Player(index, host)

    def start(self, player: Player) -> None:
        """Starts the peer's process, again if it ran before."""
        player.host.start(lambda: self._life(player))

    async def _life(self, player: Player) -> None:
        host = player.host
        player.stopped = player.error = None
        bootstrap = tuple(f"{other.host.address}:{PORT}" for other in self.players[:2] if other is not player)
        settings = self.settings.adopt(
            {"host": host.address, "port": PORT, "bootstrap": bootstrap, "state_dir": host.disk}
        )

        def note(fact: Fact) -> None:
            player.facts.append(fact)
            self.world.note(host, type(fact).__name__)
            if self.on_fact is not None:
                self.on_fact(player, fact)

        task = Blobs(self._data, host.charge, self.scenario.batch_s)
        player.peer = peer = Peer(
            settings, task, data=self._data, sinks=[note], clock=HostClock(host), entropy=host.entropy
        )
        try:
            async with peer:
                player.stopped = await peer.run()
        except MarflError as error:
            player.error = f"{error.code}: {error}"
        except Exception as error:
            player.error = f"failed: {error!r}"

    def run(self, *, deadline: float) -> bool:
        """Until every process is over; False where some still run at `deadline` (virtual seconds)."""
        return self.world.run(until=lambda: all(p.host.process is None for p in self.players), deadline=deadline)

    def close(self) -> None:
        """Forgets all processes, also those that were cut off in the middle of something."""
        for player in self.players:
            player.peer = None
        self.world.close()


def _key(host: Host) -> bytes:
    private = Ed25519PrivateKey.from_private_bytes(host.entropy(32))
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
