"""A line of the grid as a view has it: its cells, who plays each, who may take over. Who is here or gone is not its
business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from marfl_peer.ids import Cell, PeerId, Round
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.placement import candidates
from marfl_peer.protocol.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`players`: the default player of every cell. `candidates`: who holds a cell's state besides it, best first.
    `dial_only`: the peers of the view that nobody can dial: they cannot reach each other."""

    name: LineName
    view_digest: str
    players: Mapping[int, PeerId]
    candidates: Mapping[int, tuple[PeerId, ...]]
    dial_only: frozenset[PeerId] = frozenset()

    def rank(self, peer: PeerId) -> tuple[bool, PeerId]:
        """The lower of two leads: one that listens, whom all can reach, or else the lower id."""
        return peer in self.dial_only, peer

    def peers(self) -> set[PeerId]:
        """The default players of the line's cells: those that lead and are waited for."""
        return set(self.players.values())

    def may_play(self, peer: PeerId, cells: Collection[int]) -> bool:
        """Whether all `cells` are different cells of this line that `peer` plays or can take over."""
        ours = [cell for cell in cells if self.players.get(cell) == peer or self.may_take_over(peer, cell)]
        return len(set(ours)) == len(cells)

    def may_take_over(self, peer: PeerId, cell: int) -> bool:
        return peer in self.candidates.get(cell, ())

    def concerns(self, peer: PeerId) -> bool:
        """Whether `peer` plays on this line or may have to."""
        return peer in self.peers() or any(peer in able for able in self.candidates.values())


def line_named(name: LineName, view: View, players: Mapping[Cell, PeerId]) -> Line | None:
    """The line of that round and lowest cell; None if it is another view's, or the view's grid does not have it.
    `players`: of all cells."""
    round, lowest = Round(name.round), Cell(name.line)
    if name.view_mark != view.mark or not 1 <= round <= view.grid.rounds or lowest >= view.grid.cells:
        return None
    cells = view.grid.line(lowest, round)
    if cells[0] != lowest:
        return None
    return Line(
        name=name,
        view_digest=view.digest,
        players={cell: players[cell] for cell in cells},
        candidates={cell: candidates(view, cell, round) for cell in cells},
        dial_only=view.dial_only,
    )
