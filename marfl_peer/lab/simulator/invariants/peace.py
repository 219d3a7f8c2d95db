"""Since when nothing has gone wrong in the world: only then must everything come out in full.

Knows what was done to hosts and links; not what follows from it.
"""

from __future__ import annotations

from marfl_peer.lab.simulator.world import World

SETTLING_S = 15.0
"""After a cut, a pause or bad weather, until all have found each other again: patience, and a few heartbeats."""
NEVER = float("-inf")
AT_ONCE = ("killed", "power lost", "start", "restart")
"""What is over as soon as it happened: who is gone is missed once, in the iteration that runs."""
BEARABLE_LOSS = 0.02
BEARABLE_SLOWNESS = 4.0


class Peace:
    """`attach` it to the world before anything happens there."""

    def __init__(self) -> None:
        self.was_ever_broken = False
        self._kinds: dict[str, None] = {}
        self._touched: dict[int | None, float] = {}
        self._unsettled_until = 0.0
        self._last = 0.0
        self._world: World | None = None

    def attach(self, world: World) -> None:
        self._world = world

    def broken(self, time: float, what: str, player: int | None = None) -> None:
        """Something went wrong, with one player or (None) with the network."""
        if player is not None or what not in AT_ONCE:
            self._touched[player] = time - (SETTLING_S if what.startswith(AT_ONCE) else 0.0)
        self.was_ever_broken = True
        self._kinds[what] = None
        self._last = time
        if not what.startswith(AT_ONCE):
            self._unsettled_until = time + SETTLING_S

    def held_since(self, time: float) -> bool:
        """Whether nothing has gone wrong since `time`, and what had gone wrong before was settled by then."""
        if not self.is_fair():
            self.broken(self._now(), "lasting")
            return False
        return time > self._last and time >= self._unsettled_until

    def touched(self, player: int, *, since: float) -> bool:
        """Whether anything went wrong with this player or the network since then, or so shortly before that it may
        not be settled."""
        return not self.is_fair() or self.was_touched(player, since=since)

    def was_touched(self, player: int, *, since: float) -> bool:
        """The same, of a time when the world is fair."""
        last = max(self._touched.get(player, NEVER), self._touched.get(None, NEVER))
        return last >= since - SETTLING_S

    def was_ever(self, *words: str) -> bool:
        """Whether anything went wrong whose name has one of these words in it."""
        return any(word in what for what in self._kinds for word in words)

    def is_fair(self) -> bool:
        """Whether nothing is wrong at this instant that lasts: a cut, a pause, weather, a host that is slow."""
        assert self._world is not None
        network, hosts = self._world.network, self._world.hosts
        if network._cuts or network.climate.loss > BEARABLE_LOSS:
            return False
        return not any(host.is_paused or host.slowness > BEARABLE_SLOWNESS for host in hosts)

    def _now(self) -> float:
        assert self._world is not None
        return self._world.time
