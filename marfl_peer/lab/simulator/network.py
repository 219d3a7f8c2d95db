"""The network between hosts: latency, bandwidth, loss, re-ordering, and cuts that may hold in one direction only.

Knows packets, not what is in them. TCP is above it in `tcp`, UDP in `udp`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from marfl_peer.lab.simulator.faces import MachineFace, WorldFace

RETRANSMISSION_S = 0.2
"""TCP's first time-out: what a lost segment costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """What holds for all links. `loss` is a probability a packet."""

    latency_s: float = 0.001
    jitter_s: float = 0.0005
    bytes_per_s: float = 50e6
    loss: float = 0.0
    duplication: float = 0.0


LAN = Climate()
WAN = Climate(latency_s=0.04, jitter_s=0.02, bytes_per_s=5e6, loss=0.005, duplication=0.001)


class Network:
    """`climate` may be exchanged while the world runs."""

    def __init__(self, world: WorldFace, climate: Climate) -> None:
        self._world = world
        self.climate = climate
        self._cuts: dict[tuple[str, str], int] = {}
        self._held: list[tuple[str, str, Callable[[], None]]] = []
        self._drawn = random.Random(f"{world.seed}/network")

    # weather

    def cut(self, sources: list[str], destinations: list[str]) -> None:
        """Nothing gets from these hosts to those until `mend`; cuts add up."""
        for source in sources:
            for destination in destinations:
                if source != destination:
                    pair = source, destination
                    self._cuts[pair] = self._cuts.get(pair, 0) + 1

    def mend(self, sources: list[str], destinations: list[str]) -> None:
        """Takes one cut back; what TCP kept trying arrives."""
        for source in sources:
            for destination in destinations:
                pair = source, destination
                count = self._cuts.get(pair, 0)
                if count > 1:
                    self._cuts[pair] = count - 1
                elif count == 1:
                    del self._cuts[pair]
        held, self._held = self._held, []
        for source, destination, deliver in held:
            if self.is_cut(source, destination):
                self._held.append((source, destination, deliver))
            else:
                self._world.after(RETRANSMISSION_S * (1 + self._drawn.random()), deliver)

    def is_cut(self, source: str, destination: str) -> bool:
        return (source, destination) in self._cuts

    # packets

    def segment(self, source: MachineFace, destination: str, size_bytes: int, deliver: Callable[[], None]) -> float:
        """Sends what TCP would try until it arrives; returns the virtual time at which its last byte has left."""
        left = self._leave(source, size_bytes)
        delay = self._flight_s(source.address, destination)
        while self._drawn.random() < self.climate.loss:
            delay += RETRANSMISSION_S
        self._world.call(left + delay, partial(self._arrive, source.address, destination, deliver))
        return left

    def _arrive(self, source: str, destination: str, deliver: Callable[[], None]) -> None:
        if self.is_cut(source, destination):
            self._held.append((source, destination, deliver))
        else:
            deliver()

    def datagram(self, source: MachineFace, destination: str, size_bytes: int, deliver: Callable[[], None]) -> None:
        """Sends what may be lost, come twice, or overtake another."""
        climate = self.climate
        left = self._leave(source, size_bytes)
        copies = 1 + (self._drawn.random() < climate.duplication)
        for _ in range(copies):
            if self._drawn.random() >= climate.loss:
                arrival = left + self._flight_s(source.address, destination)
                self._world.call(arrival, partial(self._land, source.address, destination, deliver))

    def _land(self, source: str, destination: str, deliver: Callable[[], None]) -> None:
        if not self.is_cut(source, destination):
            deliver()

    def _leave(self, source: MachineFace, size_bytes: int) -> float:
        source.uplink_free_at = max(source.uplink_free_at, self._world.time)
        source.uplink_free_at += size_bytes * source.slowness / self.climate.bytes_per_s
        return source.uplink_free_at

    def _flight_s(self, source: str, destination: str) -> float:
        if source == destination:
            return 1e-5
        return self.climate.latency_s + self.climate.jitter_s * self._drawn.random()
