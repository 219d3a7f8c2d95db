"""What the members of a line may encode against: the state that all of them began the iteration from.

Values that are rounded travel as what they differ by from a state that both ends hold, bit for bit. Where the members
of a line hold different ones, after failures, they send full values; parallel lines may round then, so members of the
swarm end with different bits, and would go on so. Therefore such a line makes the iteration after the next one in which
everybody sends full values, forgets what rounding left over, and ends with the same bits again; until then the number
travels with what members and leaders say anyway, which reaches everybody in the rounds of one iteration.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

NOTICE = 2
"""Iterations from a line that disagrees to the one of full values."""
MOST = 4


class FullValues:
    """The iterations in which everybody sends full values, as far as a peer knows."""

    def __init__(self) -> None:
        self._iterations: set[int] = set()

    def __contains__(self, iteration: int) -> bool:
        return iteration in self._iterations

    def hear(self, iterations: Iterable[int], *, now: int) -> None:
        """Somebody in iteration `now` names such. What is over is forgotten; what is far ahead is a lie."""
        self._iterations = {one for one in (*self._iterations, *iterations) if now <= one <= now + NOTICE}

    def from_now_on(self, iteration: int) -> tuple[int, ...]:
        """Those that are not over in `iteration`, ascending."""
        return tuple(sorted(one for one in self._iterations if one >= iteration))[:MOST]


@dataclass(slots=True)
class Base:
    """One iteration's. `digest`: of the state that this peer began it from; "" where it has none to build on."""

    digest: str = ""
    full: FullValues = field(default_factory=FullValues)

    def agreed(self, digests: Iterable[str], *, iteration: int) -> str:
        """What a group with these bases encodes against; "" for full values."""
        different = set(digests)
        if len(different) > 1:
            self.full.hear([iteration + NOTICE], now=iteration)
            return ""
        return "" if iteration in self.full else next(iter(different), "")

    def is_mine(self, digest: str) -> bool:
        """Whether this peer can take part in what is encoded against that."""
        return digest in ("", self.digest)
