from __future__ import annotations

import pytest
from network_of_machines import founding_view, peer

from marfl_peer.ids import Cell, Round
from marfl_peer.protocol.lines import Line, line_named
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.placement import candidates, default_players

NAME = LineName(iteration=1, round=2, line=0)
LINE = Line(
    name=NAME,
    view_digest="",
    players={cell: peer(cell) for cell in range(3)},
    candidates={cell: (peer(2), peer(5)) for cell in range(3)},
)


def test_only_different_cells_that_are_ones_own_may_be_played() -> None:
    assert LINE.may_play(peer(1), [1])
    assert LINE.may_play(peer(5), [0, 1])
    assert not LINE.may_play(peer(1), [2])
    assert not LINE.may_play(peer(5), [0, 0])
    assert not LINE.may_play(peer(7), [0])
    assert not LINE.may_play(peer(5), [3])


def test_line_concerns_who_plays_on_it_or_may_have_to() -> None:
    assert [number for number in range(9) if LINE.concerns(peer(number))] == [0, 1, 2, 5]
    assert LINE.peers == {peer(0), peer(1), peer(2)}


def test_only_candidates_may_take_over() -> None:
    assert LINE.may_take_over(peer(5), 0)
    assert not LINE.may_take_over(peer(1), 0)
    assert not LINE.may_take_over(peer(5), 3)


@pytest.mark.parametrize("count", [1, 5, 10, 16, 17])
def test_every_line_of_the_grid_has_its_players_and_candidates(count: int) -> None:
    view = founding_view(count, 4)
    players = default_players(view)
    for round in map(Round, range(1, view.grid.rounds + 1)):
        for cells in view.grid.lines(round):
            name = LineName(iteration=1, round=round, line=cells[0], view_mark=view.mark)
            line = line_named(name, view, players)
            assert line is not None
            assert (line.name, line.view_digest) == (name, view.digest)
            assert line.players == {cell: players[Cell(cell)] for cell in cells}
            assert line.candidates == {cell: candidates(view, Cell(cell), round) for cell in cells}


@pytest.mark.parametrize(("round", "line"), [(0, 0), (3, 0), (1, 16), (1, 4), (2, 1), (2**31, 2**31)])
def test_line_that_the_grid_does_not_have_is_none(round: int, line: int) -> None:
    view = founding_view(16, 4)
    name = LineName(iteration=1, round=round, line=line, view_mark=view.mark)
    assert line_named(name, view, default_players(view)) is None


def test_who_is_seated_later_leads_and_is_waited_for_like_the_others() -> None:
    line = Line(name=NAME, view_digest="v", players={1: peer(1)}, dial_only=frozenset({peer(0)}))
    line.seat(0, peer(0))
    line.seat(2, peer(2))
    assert line.peers == {peer(0), peer(1), peer(2)}
    assert line.ranked == (peer(1), peer(2), peer(0)), "who only dials comes last"
