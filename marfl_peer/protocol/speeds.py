"""How fast the members' links are, as they say it: in coarse steps, and what that makes of the time a round may take.

Steps are a quarter of a doubling, so that small changes of what is measured change nothing. The slowest of an iteration
travels with what members and leaders say anyway, as a minimum over lines: after the last round all know the same one.
It counts from the next iteration on, so D_g is the same everywhere unless somebody missed a round; and nothing but
waiting depends on that (see `deadlines`). Who measures is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from marfl_peer.protocol.messages import MAX_SPEED, Here, LineMessage, Propose

STEPS_A_DOUBLING = 4
FAST_LINK_BYTES_PER_S = 125e6
"""A gigabit. From there on the machine limits an exchange, not its link, and what is measured is noise."""
ASSUMED_LINK_BYTES_PER_S = 10e6
"""Of the slowest link, as long as no slower one was measured: rounds never have less time than that gives them."""
SLOWEST_AWAITED = 1 / 16
"""Of the assumed one: who says that it is slower still, or lies, is not awaited for longer."""
REMEMBERED = 4
"""Iterations: a slow member that misses one is still given its time in the next."""


def speed_of(bytes_per_s: float) -> int:
    """The step that a link of this rate is on; 0 where none is known. Links that are fast enough are all alike."""
    if not bytes_per_s >= 1.0:
        return 0
    steps = STEPS_A_DOUBLING * math.log2(min(bytes_per_s, FAST_LINK_BYTES_PER_S))
    return min(max(math.floor(steps), 1), MAX_SPEED)


def rate_of(speed: int) -> float:
    """Bytes a second of a link on this step, relative to others on theirs."""
    return float(2.0 ** (speed / STEPS_A_DOUBLING))


class Speeds:
    """What a peer knows of links, in all its iterations. `own`: the step of its own uplink, 0 if not known. `balances`:
    whether it gives slow members less to do, where it leads."""

    def __init__(self, *, balances: bool = True) -> None:
        self.own = 0
        self.balances = balances
        self._slowest: dict[int, int] = {}

    def begin(self, iteration: int, own: int) -> None:
        """What this peer says of itself from now on, all through an iteration."""
        self.own = own
        self._slowest = {one: speed for one, speed in self._slowest.items() if one >= iteration - REMEMBERED}
        self._learn(iteration, [own])

    def hear(self, message: LineMessage) -> None:
        """What others of an iteration say."""
        match message:
            case Here():
                self._learn(message.name.iteration, [message.speed, message.slowest])
            case Propose():
                self._learn(message.name.iteration, [message.slowest])
            case _:
                pass

    def slowest(self, iteration: int) -> int:
        """The lowest step heard of in an iteration so far; 0 for none."""
        return self._slowest.get(iteration, 0)

    def slowest_link_bytes_per_s(self, iteration: int) -> float:
        """What deadlines of an iteration go by: never more than is assumed of links that nobody measured."""
        before = [speed for one, speed in self._slowest.items() if iteration - REMEMBERED <= one < iteration]
        slowest = min((rate_of(speed) for speed in before), default=ASSUMED_LINK_BYTES_PER_S)
        return min(ASSUMED_LINK_BYTES_PER_S, max(slowest, ASSUMED_LINK_BYTES_PER_S * SLOWEST_AWAITED))

    def _learn(self, iteration: int, speeds: Iterable[int]) -> None:
        known = [speed for speed in (self.slowest(iteration), *speeds) if speed]
        if known:
            self._slowest[iteration] = min(known)
