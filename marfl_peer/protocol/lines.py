"""A line of the grid as a view has it: its cells, who plays each, who may take over. Who is here or gone is not its
business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from marfl_peer.ids import Cell, PeerId, Round
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.placement import candidates
from marfl_peer.protocol.view import View


def in_order_of_lead(peers: Iterable[PeerId], dial_only: Collection[PeerId]) -> list[PeerId]:
    """Who leads whom: one that listens, whom all can reach, comes before one that only dials, and then the lower id."""
    return sorted(peers, key=lambda peer: (peer in dial_only, peer))


@dataclass(slots=True, kw_only=True)
class Line:
    """`players`: the default player of every cell. `candidates`: who holds a cell's state besides it, best first.
    `dial_only`: the peers of the view that nobody can dial: they cannot reach each other."""

    name: LineName
    view_digest: str
    players: dict[int, PeerId]
    candidates: Mapping[int, tuple[PeerId, ...]] = field(default_factory=dict)
    dial_only: frozenset[PeerId] = frozenset()
    peers: frozenset[PeerId] = field(init=False)
    """The default players of the line's cells: those that lead and are waited for."""
    ranked: tuple[PeerId, ...] = field(init=False)
    """The same in the order in which they lead."""

    def __post_init__(self) -> None:
        self._count_peers()

    def seat(self, cell: int, player: PeerId) -> None:
        """One more cell, where they are not known from the beginning."""
        self.players[cell] = player
        self._count_peers()

    def _count_peers(self) -> None:
        # Once, not as often as it is asked who leads: with every message.
        self.peers = frozenset(self.players.values())
        self.ranked = tuple(in_order_of_lead(self.peers, self.dial_only))

    def may_play(self, peer: PeerId, cells: Collection[int]) -> bool:
        """Whether all `cells` are different cells of this line that `peer` plays or can take over."""
        ours = [cell for cell in cells if self.players.get(cell) == peer or self.may_take_over(peer, cell)]
        return len(set(ours)) == len(cells)

    def may_take_over(self, peer: PeerId, cell: int) -> bool:
        return peer in self.candidates.get(cell, ())

    def concerns(self, peer: PeerId) -> bool:
        """Whether `peer` plays on this line or may have to."""
        return peer in self.peers or any(peer in able for able in self.candidates.values())


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
