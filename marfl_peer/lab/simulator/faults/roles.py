"""Who leads, owns or just takes part, as far as the facts that peers told show it."""

from __future__ import annotations

from collections.abc import Sequence

from marfl_peer.facts import Fact, PeerStarted, ViewChanged
from marfl_peer.ids import Cell, Round
from marfl_peer.lab.simulator.faults.plan import Part
from marfl_peer.protocol.grid import Grid


class Roles:
    """Is told every fact; peers are named by index."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._cells: dict[int, tuple[tuple[int, ...], int | None]] = {}

    def heard(self, index: int, fact: Fact) -> None:
        match fact:
            case PeerStarted():
                self._ids[index] = fact.peer_id
                self._cells.pop(index, None)
            case ViewChanged():
                self._cells[index] = fact.grid, fact.cell

    def plays(self, part: Part, index: int, *, round: int, running: Sequence[int]) -> bool:
        """Whether that peer has this part on its line of the round, among those that run. Before there is a view, all
        of them are one line."""
        line = [other for other in running if other in self._ids and self._share_a_line(index, other, round)]
        if part == "anyone":
            return True
        if index not in line:
            return False
        leader = min(line, key=lambda other: self._ids[other])
        match part:
            case "leader":
                return index == leader
            case "member":
                return index != leader
            case "owner":
                return index == max(line, key=self._place)

    def _place(self, index: int) -> tuple[int, str]:
        _, cell = self._cells.get(index, ((), None))
        return -1 if cell is None else cell, self._ids[index]

    def _share_a_line(self, one: int, other: int, round: int) -> bool:
        shape, cell = self._cells.get(one, ((), None))
        other_shape, other_cell = self._cells.get(other, ((), None))
        if cell is None or other_cell is None or shape != other_shape or round > len(shape):
            return cell is None and other_cell is None
        return Cell(other_cell) in Grid(shape).line(Cell(cell), Round(round))
