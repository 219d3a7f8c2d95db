"""A full 4 x 4 grid, cell c peer c's. Round 1 joins the cells of equal c % 4, round 2 those of equal c // 4."""

from __future__ import annotations

from network_of_machines import founding_view, peer

from marfl_peer.ids import Cell
from marfl_peer.protocol.messages import LineName, Member, Seat
from marfl_peer.protocol.placement import default_players
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.takeover import Answer, TakeOver
from marfl_peer.protocol.walks import Stand, Walk

VIEW = founding_view(16, 4)
COLUMN = LineName(iteration=1, round=1, line=1)
"""Cells 1, 5, 9, 13."""
ROW = LineName(iteration=1, round=2, line=8)
"""Cells 8, 9, 10, 11."""
RESULT = Stand(vector=COLUMN, holding=Holding(weight=9, sums=(), maxima=()))
OWN = Stand(vector=None, holding=Holding(weight=2, sums=(), maxima=()))


def peer_with(walks: dict[Cell, Walk], me: int = 5) -> TakeOver:
    return TakeOver(peer(me), VIEW, default_players(VIEW), walks)


def walk(cell: int, *results: Stand | None) -> dict[Cell, Walk]:
    way = Walk(Cell(cell), 1, OWN)
    for result in results:
        way.advance(result)
    return {Cell(cell): way}


def members(*numbers: int) -> list[Member]:
    seats = {number: Seat(cell=number, weight=1, sums=(), maxima=()) for number in numbers}
    return [Member(peer_id=peer(number), seats=(seats[number],), update_s=0.0) for number in numbers]


def test_state_of_a_cell_is_that_of_any_other_of_its_line_after_the_round() -> None:
    mine = peer_with(walk(5, RESULT))
    assert mine.state_of(Cell(9), 2) == RESULT
    assert mine.state_of(Cell(13), 2) == RESULT
    assert mine.state_of(Cell(10), 2) is None


def test_nobody_holds_the_state_of_another_before_round_1_or_after_the_last() -> None:
    mine = peer_with(walk(5, RESULT, RESULT))
    assert mine.state_of(Cell(9), 1) is None
    assert mine.state_of(Cell(9), 3) is None


def test_line_that_was_given_up_leaves_no_state_to_take_over_from() -> None:
    assert peer_with(walk(5, None)).state_of(Cell(9), 2) is None


def three_rounds(*, near: list[Stand | None], far: list[Stand | None]) -> TakeOver:
    """Of a 3 x 3 x 3 grid: the peer plays cells 0 and 12. Cell 9 is on the line of 12 in round 2, not on that of 0."""
    view = founding_view(27, 3)
    return TakeOver(peer(0), view, default_players(view), walk(12, *near) | walk(0, *far))


NEAR = Stand(vector=LineName(iteration=1, round=2, line=9), holding=Holding(weight=50, sums=(), maxima=()))
FAR = Stand(vector=LineName(iteration=1, round=2, line=0), holding=Holding(weight=10, sums=(), maxima=()))
PLAYED = LineName(iteration=1, round=3, line=9)


def test_state_of_a_cell_is_rather_what_its_own_line_gave_than_what_an_equal_one_did() -> None:
    assert three_rounds(near=[RESULT, NEAR], far=[RESULT, FAR]).state_of(Cell(9), 3) == NEAR
    assert three_rounds(near=[RESULT, None], far=[RESULT, FAR]).state_of(Cell(9), 3) == FAR


def test_who_may_still_get_the_result_of_a_cells_line_does_not_play_it_from_another_ones() -> None:
    for near in ([], [RESULT]):
        mine = three_rounds(near=near, far=[RESULT, FAR])
        mine.ask(PLAYED, Cell(9))
        assert mine.state_of(Cell(9), 3) is None
        assert mine.answer(PLAYED, Cell(9)) is Answer.LATER
    mine = three_rounds(near=[RESULT, None], far=[RESULT, FAR])
    mine.ask(PLAYED, Cell(9))
    assert mine.answer(PLAYED, Cell(9)) is Answer.PLAY


def test_vectors_to_play_from_are_the_results_between_two_rounds() -> None:
    last = Stand(vector=ROW, holding=RESULT.holding)
    assert peer_with(walk(5)).vectors() == set()
    assert peer_with(walk(5, None, last)).vectors() == set()
    assert peer_with(walk(5, RESULT, last)).vectors() == {COLUMN}


def test_leader_is_answered_when_the_state_is_there_and_only_once() -> None:
    walks: dict[Cell, Walk] = {}
    mine = peer_with(walks)
    mine.ask(ROW, Cell(9))
    assert mine.asked() == [(ROW, Cell(9))]
    assert mine.answer(ROW, Cell(9)) is Answer.LATER
    walks |= walk(5)
    assert mine.answer(ROW, Cell(9)) is Answer.LATER
    assert mine.asked() == [(ROW, Cell(9))]
    walks[Cell(5)].advance(RESULT)
    assert mine.answer(ROW, Cell(9)) is Answer.PLAY
    assert mine.asked() == []


def test_cell_whose_state_will_never_be_held_is_refused() -> None:
    for walks in (walk(5, None), walk(4, RESULT)):
        mine = peer_with(walks)
        mine.ask(ROW, Cell(9))
        assert mine.answer(ROW, Cell(9)) is Answer.REFUSE
        assert mine.asked() == []


def test_cell_that_is_played_already_needs_no_answer() -> None:
    mine = peer_with(walk(9), me=9)
    mine.ask(ROW, Cell(9))
    assert mine.answer(ROW, Cell(9)) is Answer.NEEDLESS
    assert mine.asked() == []


def test_lowest_member_plays_the_cells_that_the_ballot_went_without() -> None:
    present = members(5, 9)
    assert peer_with(walk(5, RESULT), me=5).left_to_me(COLUMN, present) == [1, 13]
    assert peer_with(walk(9, RESULT), me=9).left_to_me(COLUMN, present) == []
    assert peer_with(walk(5, RESULT), me=5).left_to_me(COLUMN, members(1, 5, 9, 13)) == []


def test_rather_one_that_plays_no_other_cell_of_the_next_line() -> None:
    # Peer 0 plays cell 5 here, and its own on the row of cell 1: peer 9 plays nothing there.
    [stranger, other] = members(0, 9)
    present = [Member(peer_id=stranger.peer_id, seats=(Seat(cell=5, weight=1, sums=(), maxima=()),), update_s=0), other]
    assert peer_with(walk(9, RESULT), me=9).left_to_me(COLUMN, present) == [1]
    assert peer_with({}, me=0).left_to_me(COLUMN, present) == [13]


def test_nothing_is_left_after_the_last_round() -> None:
    assert peer_with(walk(8, RESULT, RESULT), me=8).left_to_me(ROW, members(8)) == []
