"""What rounding left over in an iteration, for the same exchanges of the next one.

Members of parallel lines, whose inputs are equal, have to feed the same back, and so has whoever takes a cell over. So
residuals belong to a place on the axes still to come, not to a line: all who can play a cell of that place have the
same ones. They are those of a view: a peer that is new or was started again has nothing to feed back, so whenever the
view changes everybody begins with nothing. What is lost by that is less than one step of the codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.ids import Cell, Iteration, PeerId, Round
from marfl_peer.protocol.messages import LineName, Member
from marfl_peer.protocol.view import View


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a peer exchanges in a round, but for what is averaged away by then. `place`: of its lowest cell; `seats`:
    those of all members, which decide who sums up what. Places are the lowest cells of equal state."""

    view_mark: str
    round: int
    place: int
    seats: tuple[tuple[int, ...], ...]


def spot_of(peer: PeerId, view: View, name: LineName, members: Sequence[Member]) -> Spot:
    """Where one of the members of a ballot exchanges under it."""

    def place(cell: int) -> int:
        return view.grid.same_state(Cell(cell), Round(name.round))[0]

    seats = {member.peer_id: tuple(sorted(place(seat.cell) for seat in member.seats)) for member in members}
    return Spot(name.view_mark, name.round, seats[peer][0], tuple(seats.values()))


class Feedback:
    """`pool` lends the memory for what is left over; see Residuals."""

    def __init__(self, pool: BufferPool | None = None) -> None:
        self.pool = pool
        self._left: dict[int, dict[Spot, Residuals]] = {}

    def residuals(self, iteration: Iteration, spot: Spot) -> Residuals:
        """What the iteration before left over; nobody changes it. The same until `settle`: a cell may be taken over
        after this peer's own exchange of the round."""
        return self._left.get(iteration - 1, {}).get(spot) or Residuals()

    def keep(self, iteration: Iteration, spot: Spot, left: Residuals) -> None:
        """An exchange is complete, and this is left over; of segments that it does not name, what was before."""
        self.settle(Iteration(iteration - 1))
        left.fill_up(self.residuals(iteration, spot))
        self._left.setdefault(iteration, {})[spot] = left
        if spot.round == 1:  # nobody is played for there: who is lost before it has weight 0
            self._left.get(iteration - 1, {}).pop(spot, None)

    def settle(self, iteration: Iteration) -> None:
        """Nothing is exchanged in this iteration any more."""
        self._left = {kept: spots for kept, spots in self._left.items() if kept >= iteration}
