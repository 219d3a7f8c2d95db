from __future__ import annotations

from marfl_peer.ids import Cell
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.walks import Stand, Walk


def holding(weight: int) -> Holding:
    return Holding(weight=weight, sums=(), maxima=())


def line(round: int) -> LineName:
    return LineName(iteration=1, round=round, line=0)


def result(round: int, weight: int = 9) -> Stand:
    return Stand(vector=line(round), holding=holding(weight))


OWN = Stand(vector=None, holding=holding(4))


def test_walk_holds_what_its_lines_hold_round_by_round() -> None:
    walk = Walk(Cell(3), 1, OWN)
    assert (walk.round, walk.stand) == (1, OWN)
    for round in (1, 2):
        walk.advance(result(round))
    assert walk.round == 3
    assert walk.stand == result(2)
    assert [walk.stand_at(round) for round in range(5)] == [None, OWN, result(1), result(2), None]


def test_walk_of_a_cell_taken_over_knows_nothing_of_the_rounds_before() -> None:
    walk = Walk(Cell(3), 2, result(1))
    assert walk.round == 2
    assert walk.stand_at(1) is None
    assert walk.stand_at(2) == result(1)


def test_round_without_a_result_keeps_vector_and_weight_but_is_no_state_of_the_line() -> None:
    walk = Walk(Cell(3), 1, OWN)
    walk.advance(None)
    assert walk.round == 2
    assert (walk.stand.vector, walk.stand.holding, walk.stand.is_of_line) == (None, OWN.holding, False)


def test_line_of_zeros_keeps_the_vector_and_is_the_state_of_the_line() -> None:
    after = Stand(vector=line(1), holding=holding(0), is_of_line=False).after(result(2, weight=0))
    assert after == Stand(vector=line(1), holding=holding(0))


def test_later_result_is_of_its_line_again() -> None:
    assert OWN.after(None).after(result(2)) == result(2)
