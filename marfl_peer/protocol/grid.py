"""The grid of MAR-FL (arXiv 2512.05234) with mixed radix: shapes, cells, lines and the keys that name groups.

Knows numbers only: which peer sits in which cell is the view's business, who acts for an empty one the
placement's. Cells are row-major; axis g - 1 is averaged in round g: after all axes everybody is mixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from marfl_peer.errors import LocalProtocolError
from marfl_peer.ids import Cell, DhtKey, Round, RunId, dht_key


@dataclass(frozen=True)
class Grid:
    """`shape` has one axis a round; () is the grid of a peer that is alone: one cell and no rounds."""

    shape: tuple[int, ...]

    @classmethod
    def for_peers(cls, peers: int, group_size: int) -> Grid:
        """The smallest grid that `peers` >= 1 fill with groups of at most `group_size` >= 2.

        As few rounds as groups of that size allow; then as few cells; then axes as equal as can be, longer
        ones first.
        Raises: LocalProtocolError if there are no peers or groups of one.
        """
        if peers < 1 or group_size < 2:
            raise LocalProtocolError(f"no grid for {peers} peers in groups of {group_size}")
        return cls(_smallest_shape(peers, group_size))

    @cached_property
    def rounds(self) -> int:
        return len(self.shape)

    @cached_property
    def cells(self) -> int:
        return math.prod(self.shape)

    def coordinates(self, cell: Cell) -> tuple[int, ...]:
        """One coordinate an axis. Raises: LocalProtocolError for a cell outside of the grid."""
        self._check_cell(cell)
        rest, coordinates = int(cell), []
        for length in reversed(self.shape):
            rest, coordinate = divmod(rest, length)
            coordinates.append(coordinate)
        return tuple(reversed(coordinates))

    def line(self, cell: Cell, round: Round) -> tuple[Cell, ...]:
        """The cells that exchange with `cell` in `round`, itself among them, ascending: its line.

        Raises: LocalProtocolError for a cell or round that the grid does not have.
        """
        stride, length = self._axis(round)
        lowest = self.line_name(cell, round)
        return tuple(Cell(lowest + step * stride) for step in range(length))

    def line_name(self, cell: Cell, round: Round) -> Cell:
        """The lowest cell of the line, which names it within its round. Raises: as `line`."""
        self._check_cell(cell)
        stride, length = self._axis(round)
        return Cell(cell - cell // stride % length * stride)

    def lines(self, round: Round) -> tuple[tuple[Cell, ...], ...]:
        """All lines of a round, ascending by name: every cell is on exactly one. Raises: as `line`."""
        stride, length = self._axis(round)
        blocks = range(0, self.cells, stride * length)
        return tuple(self.line(Cell(block + offset), round) for block in blocks for offset in range(stride))

    def same_state(self, cell: Cell, round: Round) -> tuple[Cell, ...]:
        """The cells that hold what `cell` holds when `round` starts, itself among them, ascending.

        These are its equals on the axes of rounds `round`..G: what else told them apart is averaged away.
        `round` may be G + 1, the end of the iteration: then it is everybody. Raises: as `line`.
        """
        self._check_cell(cell)
        if not 1 <= round <= self.rounds + 1:
            raise LocalProtocolError(f"round {round} of a grid of {self.shape}")
        classes = math.prod(self.shape[round - 1 :])
        return tuple(Cell(equal) for equal in range(cell % classes, self.cells, classes))

    def _axis(self, round: Round) -> tuple[int, int]:
        """(distance between neighbours, length) of the axis that is averaged in `round`."""
        if not 1 <= round <= self.rounds:
            raise LocalProtocolError(f"round {round} of a grid of {self.shape}")
        return math.prod(self.shape[round:]), self.shape[round - 1]

    def _check_cell(self, cell: Cell) -> None:
        if not 0 <= cell < self.cells:
            raise LocalProtocolError(f"cell {cell} of a grid of {self.shape}")


def group_key(run_id: RunId, shape: tuple[int, ...], round: Round, coordinates: tuple[int, ...]) -> DhtKey:
    """The DHT key under which the peers on one line find each other in `round`.

    The round's own coordinate is left out, so that it is one key for the whole line: going on to the next
    round is the paper's key rotation.
    """
    others = coordinates[: round - 1] + coordinates[round:]
    return dht_key("group", run_id, "x".join(map(str, shape)), round, ".".join(map(str, others)))


@lru_cache(maxsize=1024)
def _smallest_shape(peers: int, group_size: int) -> tuple[int, ...]:
    rounds, reach = 0, 1
    # An integer loop: a floating-point logarithm is off by one at some exact powers.
    while reach < peers:
        rounds, reach = rounds + 1, reach * group_size
    return min(_covering(peers, rounds, group_size), key=lambda shape: (math.prod(shape), shape))


def _covering(peers: int, rounds: int, longest: int) -> Iterator[tuple[int, ...]]:
    """Shapes with axes <= `longest`, longer first, that hold `peers`, the last axis no longer than needed."""
    if rounds == 0:
        yield ()
    elif rounds == 1:
        yield (peers,)
    else:
        for first in range(longest, 0, -1):
            if first**rounds < peers:
                break
            rest = -(-peers // first)
            for shape in _covering(rest, rounds - 1, first):
                yield (first, *shape)
