"""What the seats of a line add up to: weights and sums add, integers take the maximum."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from marfl_peer.protocol.messages import Member, Seat


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a cell holds besides its vector."""

    weight: int
    sums: tuple[float, ...]
    maxima: tuple[int, ...]

    def seat(self, cell: int) -> Seat:
        return Seat(cell=cell, weight=self.weight, sums=self.sums, maxima=self.maxima)


def combine(seats: Iterable[Seat]) -> Holding:
    """The holding of every cell of a line after its exchange. Seats are added in the order of their cells."""
    ordered = sorted(seats, key=lambda seat: seat.cell)
    # Columns are cut to the shortest row: a member with another number of sums cannot raise here.
    sums = tuple(sum(column) for column in zip(*(seat.sums for seat in ordered), strict=False))
    maxima = tuple(max(column) for column in zip(*(seat.maxima for seat in ordered), strict=False))
    return Holding(weight=sum(seat.weight for seat in ordered), sums=sums, maxima=maxima)


def is_well_formed(members: Sequence[Member], cells: Collection[int]) -> bool:
    """Whether members are different peers with different cells of the line, in the order of those."""
    seated = [seat.cell for seat in seats_of(members)]
    firsts = [min(seat.cell for seat in member.seats) for member in members]
    distinct = len(set(seated)) == len(seated) and len({member.peer_id for member in members}) == len(members)
    return distinct and set(seated) <= set(cells) and firsts == sorted(firsts)


def seats_of(members: Sequence[Member]) -> tuple[Seat, ...]:
    return tuple(seat for member in members for seat in member.seats)
