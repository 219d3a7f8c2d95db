"""A cell's walk through the rounds of an iteration: what it holds at the start of each. Knows no peers and no time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from marfl_peer.ids import Cell
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.seats import Holding

VectorName = LineName | None
"""Vectors are named by where they came from: None is this peer's own update, a line's name is that line's result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """What a cell holds at the start of a round."""

    vector: VectorName
    holding: Holding
    is_of_line: bool = True
    """Whether it is what every cell of the line before it holds; not so where this peer gave that line up."""

    def after(self, result: Stand | None) -> Stand:
        """What the cell holds after a round. Without a result, or on a line of zeros, it keeps its vector."""
        if result is None:
            return replace(self, is_of_line=False)
        return Stand(vector=result.vector if result.holding.weight else self.vector, holding=result.holding)


class Walk:
    """A cell that this peer plays from `first_round` on, where it holds `stand`."""

    def __init__(self, cell: Cell, first_round: int, stand: Stand) -> None:
        self.cell = cell
        self._first_round = first_round
        self._stands = [stand]

    @property
    def round(self) -> int:
        """The round it is in; G + 1 when it is through."""
        return self._first_round + len(self._stands) - 1

    @property
    def stand(self) -> Stand:
        return self._stands[-1]

    def stand_at(self, round: int) -> Stand | None:
        """What it held at the start of `round`; None for a round that it was not, or is not yet, in."""
        index = round - self._first_round
        return self._stands[index] if 0 <= index < len(self._stands) else None

    def advance(self, result: Stand | None) -> None:
        """Its round is over: on to the next axis, with what its line holds or, without a result, what it had."""
        self._stands.append(self.stand.after(result))
