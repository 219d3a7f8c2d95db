"""What the members of a line may encode against: the state that all of them began the iteration from.

Values that are rounded travel as what they differ by from a state that both ends hold, bit for bit; where the members
of a line hold different ones, after failures, they send full values. Parallel lines may round differently then, and
where one of them went without a member, or has another left over from rounding. Members of the swarm end with different
bits, and would go on so. Therefore a line to which that happens makes the iteration after the next one in which all
send full values, nothing is left over, and all end with the same bits; until then its number travels with what members
and leaders say anyway, which reaches everybody in the rounds of an iteration.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

NOTICE = 2
"""Iterations from a line in which something went wrong to the one of full values."""
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

    def due_after(self, iteration: int) -> None:
        """In `iteration` members of parallel lines may have come to different bits, or keep different residuals."""
        self.hear([iteration + NOTICE], now=iteration)

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
        held = list(digests)
        if len(set(held)) > 1:
            self.full.due_after(iteration)
            return ""
        # Who is alone sends nothing that could be encoded.
        return "" if len(held) < 2 or iteration in self.full else held[0]

    def is_mine(self, digest: str) -> bool:
        """Whether this peer can take part in what is encoded against that."""
        return digest in ("", self.digest)
