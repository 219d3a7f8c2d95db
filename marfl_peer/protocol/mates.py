"""Who is on a line with a peer that distils, and what has come of asking them: a machine for one round at one student.

Every student's round is its own, so nothing is agreed on: mates are asked, those that offer a model are pulled from, a
few at a time, and who falls away is done without. Distillation of MAR-FL (arXiv 2512.05234).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from marfl_peer.ids import Cell, PeerId, Round
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.view import View

WINDOW = 4
"""Models that are pulled at a time: so many a student has memory for."""


def line_of(view: View, me: PeerId, round: Round) -> tuple[LineName, tuple[PeerId, ...]]:
    """The line that the view's member `me` distils on in a round, and its mates there, ascending.

    Who stands in for an empty cell has no model of its own there. Raises: LocalProtocolError for a round too many.
    """
    cell = view.cell_of[me]
    cells = view.grid.line(cell, round)
    name = LineName(iteration=view.iteration, round=round, line=cells[0], view_mark=view.mark)
    return name, _mates(view, me, cells)


def _mates(view: View, me: PeerId, cells: Iterable[Cell]) -> tuple[PeerId, ...]:
    seated = (view.peer_at[cell] for cell in cells)
    return tuple(sorted(peer for peer in seated if peer is not None and peer != me))


class Standing(Enum):
    """Of a mate, from the student's side."""

    NEW = auto()
    ASKED = auto()
    OFFERED = auto()
    PULLED = auto()
    HERE = auto()
    OUT = auto()


class Mates:
    """`wanted`: of how many the model is fetched, of the first of `mates` that have one; None: of all that do."""

    def __init__(self, mates: Iterable[PeerId], *, wanted: int | None = None) -> None:
        self._standing = dict.fromkeys(mates, Standing.NEW)
        self._wanted = wanted

    def __len__(self) -> int:
        return len(self._standing)

    @property
    def here(self) -> list[PeerId]:
        """Whose model is here."""
        return self._those(Standing.HERE)

    @property
    def is_complete(self) -> bool:
        """Whether all models that were wanted are here."""
        return len(self.here) >= (len(self) if self._wanted is None else min(self._wanted, len(self)))

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self.is_complete or not self._those(Standing.NEW, Standing.ASKED, Standing.OFFERED, Standing.PULLED)

    def ask(self) -> list[PeerId]:
        """Who is to be asked now."""
        new = self._those(Standing.NEW)
        if self._wanted is not None:
            active = self._those(Standing.ASKED, Standing.OFFERED, Standing.PULLED, Standing.HERE)
            new = new[: max(self._wanted - len(active), 0)]
        self._standing |= dict.fromkeys(new, Standing.ASKED)
        return new

    def offered(self, mate: PeerId) -> bool:
        """A mate has a model; returns whether that is an answer to a question."""
        if self._standing.get(mate) is not Standing.ASKED:
            return False
        self._standing[mate] = Standing.OFFERED
        return True

    def pull(self) -> list[PeerId]:
        """Whom to pull from now."""
        room = WINDOW - len(self._those(Standing.PULLED))
        if self._wanted is not None:
            room = min(room, self._wanted - len(self._those(Standing.PULLED, Standing.HERE)))
        chosen = self._those(Standing.OFFERED)[: max(room, 0)]
        self._standing |= dict.fromkeys(chosen, Standing.PULLED)
        return chosen

    def awaits(self, mate: PeerId) -> bool:
        """Whether parts of its model are to come."""
        return self._standing.get(mate) is Standing.PULLED

    def arrived(self, mate: PeerId) -> None:
        """Its model is here and whole."""
        if self.awaits(mate):
            self._standing[mate] = Standing.HERE

    def out(self, mate: PeerId) -> None:
        """It has no model to give, is lost, or gave one that does not count."""
        if mate in self._standing:
            self._standing[mate] = Standing.OUT

    def interrupted(self, mate: PeerId) -> bool:
        """What was said to it, or by it, may be lost: it is asked again. Returns whether there was anything."""
        if self._standing.get(mate) not in (Standing.ASKED, Standing.OFFERED, Standing.PULLED):
            return False
        self._standing[mate] = Standing.NEW
        return True

    def hurry(self) -> None:
        """Who was asked and has not answered by now is not waited for."""
        self._standing |= dict.fromkeys(self._those(Standing.ASKED), Standing.OUT)

    def _those(self, *standings: Standing) -> list[PeerId]:
        return [mate for mate, standing in self._standing.items() if standing in standings]
