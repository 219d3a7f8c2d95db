"""Take-over: which cells this peer plays instead of those that are gone or late, and from which state.

After a round all cells of its line hold the same. A cell that is equal to one of this peer's on the axes still to be
averaged can be played by it from there. Before round 1 nobody holds another's state: a lost cell then has weight 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from marfl_peer.ids import Cell, PeerId, Round
from marfl_peer.protocol.messages import LineName, Member
from marfl_peer.protocol.seats import seats_of
from marfl_peer.protocol.view import View
from marfl_peer.protocol.walks import Stand, VectorName, Walk


class Answer(Enum):
    """To a leader that asked this peer to play a cell."""

    PLAY = auto()
    REFUSE = auto()
    LATER = auto()
    """It may come to hold the cell's state: its own cells are in earlier rounds still."""
    NEEDLESS = auto()
    """It plays the cell already."""


class TakeOver:
    """`players`: the default player of every cell. `walks` are the owner's, by cell, and change with what it does."""

    def __init__(self, me: PeerId, view: View, players: Mapping[Cell, PeerId], walks: Mapping[Cell, Walk]) -> None:
        self._me, self._grid = me, view.grid
        self._players, self._walks = players, walks
        self._asked: set[tuple[LineName, Cell]] = set()

    def ask(self, name: LineName, cell: Cell) -> None:
        """The leader of a line asks for `cell`."""
        self._asked.add((name, cell))

    def asked(self) -> list[tuple[LineName, Cell]]:
        """What has been asked for and not been answered for good."""
        return sorted(self._asked)

    def answer(self, name: LineName, cell: Cell) -> Answer:
        """What to answer now; anything but LATER is given once."""
        answer = self._answer(cell, name.round)
        if answer is not Answer.LATER:
            self._asked.discard((name, cell))
        return answer

    def state_of(self, cell: Cell, round: int) -> Stand | None:
        """What `cell` holds at the start of `round`, if this peer holds that.

        That is what the cell's line of the round before gave. Another line's result is equal to it only if no line
        lost anybody, so it is the next best, and no choice while this peer may still get that of the cell's own line.
        """
        equal = self._equals(cell, round)
        if not equal:
            return None
        own_line = self._grid.line(cell, Round(round - 1))
        near = [walk for walk in equal if walk.cell in own_line]
        for walk in near:
            if (stand := _left_by_its_line(walk, round)) is not None:
                return stand
        if any(walk.round < round for walk in near):
            return None
        return next((stand for walk in equal if (stand := _left_by_its_line(walk, round)) is not None), None)

    def vectors(self) -> set[VectorName]:
        """What this peer could play cells from: the results that its cells held between two rounds."""
        between = range(2, self._grid.rounds + 1)
        stands = [walk.stand_at(round) for walk in self._walks.values() for round in between]
        return {stand.vector for stand in stands if stand is not None and stand.is_of_line}

    def left_to_me(self, name: LineName, members: Sequence[Member]) -> list[Cell]:
        """The cells of a line whose ballot went without them, and that it is for this peer to play from now on.

        Who was not in the ballot cannot hold its result when the next round begins. So the next lines neither wait
        for a slow peer nor lose the weight behind its cell. Of the members the lowest id plays it, rather one that
        plays no other cell of the next line.
        """
        round = Round(name.round + 1)
        if round > self._grid.rounds:
            return []
        present = {seat.cell for seat in seats_of(members)}
        line = self._grid.line(Cell(name.line), Round(name.round))
        return [cell for cell in line if cell not in present and self._taker(cell, round, members) == self._me]

    def _taker(self, cell: Cell, round: Round, members: Sequence[Member]) -> str:
        near = {self._players[other] for other in self._grid.line(cell, round)}
        return min((member.peer_id for member in members), key=lambda peer: (peer in near, peer))

    def _answer(self, cell: Cell, round: int) -> Answer:
        if cell in self._walks:
            return Answer.NEEDLESS
        if self.state_of(cell, round) is not None:
            return Answer.PLAY
        is_under_way = any(walk.round < round for walk in self._equals(cell, round))
        return Answer.LATER if is_under_way or not self._walks else Answer.REFUSE

    def _equals(self, cell: Cell, round: int) -> list[Walk]:
        """This peer's walks whose state at the start of `round` is that of `cell`."""
        if not 1 < round <= self._grid.rounds:
            return []
        equal = self._grid.same_state(cell, Round(round))
        return [self._walks[other] for other in equal if other in self._walks]


def _left_by_its_line(walk: Walk, round: int) -> Stand | None:
    """What `walk` held at the start of `round`, if all of its line before hold that."""
    stand = walk.stand_at(round)
    return stand if stand is not None and stand.is_of_line else None
