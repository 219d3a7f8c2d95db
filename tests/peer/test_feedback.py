"""Residuals of an iteration are fed back in the next one, by whoever plays a cell of the same place."""

from __future__ import annotations

import torch

from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.ids import Iteration, PeerId
from marfl_peer.peer.feedback import Feedback, Spot, spot_of
from marfl_peer.protocol.messages import LineName, Member, Seat
from marfl_peer.protocol.view import FOUNDING, Membership, MembershipEvent

SPOT = Spot(view_mark="ab", round=2, place=1, seats=((0,), (1,)))


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def member(number: int, *cells: int) -> Member:
    seats = tuple(Seat(cell=cell, weight=1, sums=(), maxima=()) for cell in cells)
    return Member(peer_id=peer(number), seats=seats, update_s=0.0)


def left(value: float, *starts: int) -> Residuals:
    residuals = Residuals(6)
    for start in starts or (0,):
        residuals.keep(start, torch.full((3,), value), is_whole=False)
    return residuals


def fed_back(feedback: Feedback, iteration: int, spot: Spot = SPOT) -> float | None:
    found = feedback.residuals(Iteration(iteration), spot).at(0)
    return None if found is None else found[0].item()


def test_residuals_are_those_of_the_iteration_before_and_of_no_other() -> None:
    feedback = Feedback()
    feedback.keep(Iteration(3), SPOT, left(1.0))
    assert [fed_back(feedback, iteration) for iteration in (3, 4, 5)] == [None, 1.0, None]


def test_residuals_of_another_view_round_place_or_group_are_not_these() -> None:
    feedback = Feedback()
    feedback.keep(Iteration(3), SPOT, left(1.0))
    others = [Spot("cd", 2, 1, SPOT.seats), Spot("ab", 1, 1, SPOT.seats), Spot("ab", 2, 0, SPOT.seats)]
    for other in (*others, Spot("ab", 2, 1, ((0, 1),))):
        assert fed_back(feedback, 4, other) is None


def test_own_exchange_does_not_change_what_a_cell_is_taken_over_with() -> None:
    feedback = Feedback()
    feedback.keep(Iteration(3), SPOT, left(1.0))
    feedback.keep(Iteration(4), SPOT, left(2.0))
    assert (fed_back(feedback, 4), fed_back(feedback, 5)) == (1.0, 2.0)
    feedback.settle(Iteration(4))
    assert (fed_back(feedback, 4), fed_back(feedback, 5)) == (None, 2.0)


def test_nobody_is_played_for_in_round_1_so_what_was_fed_back_there_is_let_go() -> None:
    feedback, first = Feedback(), Spot(view_mark="ab", round=1, place=1, seats=SPOT.seats)
    feedback.keep(Iteration(3), first, left(1.0))
    feedback.keep(Iteration(3), SPOT, left(3.0))
    feedback.keep(Iteration(4), first, left(2.0))
    assert [fed_back(feedback, iteration, first) for iteration in (4, 5)] == [None, 2.0]
    assert fed_back(feedback, 4) == 3.0


def test_segments_that_were_not_encoded_keep_what_was_left_of_them() -> None:
    feedback = Feedback()
    feedback.keep(Iteration(3), SPOT, left(1.0, 0, 3))
    feedback.keep(Iteration(4), SPOT, left(2.0, 3))
    found = feedback.residuals(Iteration(5), SPOT)
    segments = {start: found.at(start) for start in found}
    assert {start: None if one is None else one.tolist() for start, one in segments.items()} == {
        3: [2.0] * 3,
        0: [1.0] * 3,
    }


def test_no_more_than_two_iterations_are_kept() -> None:
    feedback = Feedback()
    for iteration in range(1, 9):
        feedback.keep(Iteration(iteration), SPOT, left(float(iteration)))
    assert sorted(feedback._left) == [7, 8]


def test_who_takes_a_cell_over_is_where_its_player_was_and_where_it_is_itself() -> None:
    """On a grid of 2 x 2 cells 0 and 2 are one place in round 2; in round 1 all are places of their own."""
    membership = Membership()
    membership.add(
        MembershipEvent(peer_id=peer(number), incarnation=0, kind="joined", iteration=FOUNDING) for number in range(4)
    )
    view = membership.view(Iteration(1), 2)
    second = LineName(iteration=1, round=2, line=2, view_mark=view.mark)
    lost = spot_of(peer(2), view, second, [member(2, 2), member(3, 3)])
    taker = spot_of(peer(0), view, second, [member(0, 2), member(3, 3)])
    own = spot_of(peer(0), view, LineName(iteration=1, round=2, line=0), [member(0, 0), member(1, 1)])
    assert lost == taker
    assert (own.place, own.seats) == (lost.place, lost.seats)
    first = LineName(iteration=1, round=1, line=0, view_mark=view.mark)
    places = [spot_of(peer(number), view, first, [member(0, 0), member(2, 2)]).place for number in (0, 2)]
    assert places == [0, 2]
    alone = spot_of(peer(0), view, second, [member(0, 2, 3)])
    assert alone.seats == ((0, 1),)
