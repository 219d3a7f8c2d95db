from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.protocol.messages import Member, Seat
from marfl_peer.protocol.seats import Holding, combine, is_well_formed, seats_of


def seat(cell: int, weight: int = 1, sums: tuple[float, ...] = (), maxima: tuple[int, ...] = ()) -> Seat:
    return Seat(cell=cell, weight=weight, sums=sums, maxima=maxima)


def member(number: int, *cells: int) -> Member:
    return Member(peer_id=f"{number:040x}", seats=tuple(seat(cell) for cell in cells), update_s=0.0)


def test_weights_and_sums_add_up_and_maxima_are_taken() -> None:
    held = combine([seat(1, 2, (1.0, 0.5), (3, 9)), seat(0, 5, (2.0, 0.25), (7, 1))])
    assert held == Holding(weight=7, sums=(3.0, 0.75), maxima=(7, 9))
    assert held.seat(4) == seat(4, 7, (3.0, 0.75), (7, 9))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6), st.randoms())
def test_sums_have_the_same_bits_in_whatever_order_the_seats_come(values: list[float], rng: object) -> None:
    seats = [seat(cell, sums=(value,)) for cell, value in enumerate(values)]
    assert combine(seats) == combine(seats[::-1])


def test_seat_with_another_number_of_sums_shortens_them() -> None:
    assert combine([seat(0, sums=(1.0, 2.0), maxima=(1,)), seat(1, sums=(1.0,))]) == Holding(
        weight=2, sums=(2.0,), maxima=()
    )


def test_nothing_holds_nothing() -> None:
    assert combine([]) == Holding(weight=0, sums=(), maxima=())


def test_seats_of_members_keep_their_order() -> None:
    assert [one.cell for one in seats_of([member(1, 4, 0), member(2, 3)])] == [4, 0, 3]


def test_members_are_well_formed_in_the_order_of_different_cells_of_the_line() -> None:
    line = (0, 4, 8, 12)
    assert is_well_formed([member(7, 0, 12), member(3, 4), member(5, 8)], line)
    assert is_well_formed([member(7, 4)], line)
    assert not is_well_formed([member(7, 4), member(3, 0)], line)
    assert not is_well_formed([member(7, 0), member(3, 0)], line)
    assert not is_well_formed([member(7, 0), member(7, 4)], line)
    assert not is_well_formed([member(7, 0, 0)], line)
    assert not is_well_formed([member(7, 1)], line)
