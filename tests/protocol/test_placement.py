from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.errors import LocalProtocolError
from marfl_peer.ids import Cell, Iteration, PeerId, Round
from marfl_peer.protocol.placement import candidates, cells_of, default_players
from marfl_peer.protocol.view import Membership, MembershipEvent, MembershipKind, View


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def numbers(peers: Sequence[PeerId]) -> list[int]:
    return [int(peer_id, 16) for peer_id in peers]


def view_of(count: int, group_size: int = 4, gone: Sequence[int] = (), joining: Sequence[int] = ()) -> View:
    """Founders 0.. in the cells of their numbers, then some of them leave, then others join."""
    membership = Membership()
    course: list[tuple[Sequence[int], MembershipKind, int]] = [
        (range(count), "joined", -1),
        (gone, "left", 0),
        (joining, "joined", 1),
    ]
    for peers, kind, at in course:
        membership.add(
            MembershipEvent(peer_id=peer(number), incarnation=1, kind=kind, iteration=at) for number in peers
        )
    return membership.view(Iteration(3), group_size)


@st.composite
def views(draw: st.DrawFn) -> View:
    count = draw(st.integers(1, 40))
    gone = draw(st.sets(st.integers(0, count - 1), max_size=12))
    joining = draw(st.sets(st.integers(100, 120), max_size=4))
    return view_of(count, draw(st.integers(2, 6)), sorted(gone), sorted(joining))


def test_full_grid_is_played_by_those_who_sit_there() -> None:
    view = view_of(16)
    assert default_players(view) == {cell: peer(cell) for cell in range(16)}
    assert all(cells_of(view, peer(number)) == (number,) for number in range(16))


@pytest.mark.parametrize("count", [5, 7, 10, 17, 23, 33, 100])
def test_cells_beyond_the_founders_are_played_by_rank(count: int) -> None:
    view = view_of(count)
    players = default_players(view)
    assert view.grid.cells > count
    assert all(players[Cell(cell)] == peer(cell - count) for cell in range(count, view.grid.cells))
    assert cells_of(view, peer(0)) == (0, count)


def test_holes_are_played_in_order_of_cells_by_the_next_who_sits_on_no_line_with_them() -> None:
    # 4 x 4: cells 1, 2 and 3 are on the line of cell 0, so that it goes to the peer of cell 5.
    view = view_of(16, gone=(9, 0, 4))
    players = default_players(view)
    assert [players[Cell(hole)] for hole in (0, 4, 9)] == [peer(5), peer(2), peer(3)]
    assert cells_of(view, peer(3)) == (3, 9)


@pytest.mark.parametrize("group_size", [3, 4, 5])
def test_no_peer_plays_two_cells_of_a_line_in_a_grid_with_holes(group_size: int) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        count = rng.randint(12, 60)
        view = view_of(count, group_size, gone=rng.sample(range(count), count // 6))
        for member in view.members:
            places = [view.grid.coordinates(cell) for cell in cells_of(view, member)]
            assert all(sum(map(int.__ne__, one, other)) != 1 for one in places for other in places)
            assert len(places) <= 2


def test_stand_ins_of_thousands_of_peers_are_shared_evenly() -> None:
    view = view_of(3300, 4)
    assert view.grid.cells - 3300 > 700
    assert max(len(cells_of(view, member)) for member in view.members[:60]) == 2
    assert numbers([default_players(view)[Cell(cell)] for cell in (3300, 4095)]) == [0, 795]


def test_own_cell_comes_first_even_if_it_is_the_highest() -> None:
    view = view_of(17, gone=(0,))
    player = default_players(view)[Cell(0)]
    assert view.cell_of[player] > 0
    assert cells_of(view, player)[:2] == (view.cell_of[player], 0)


def test_more_empty_cells_than_peers_begin_again() -> None:
    # The rule that shrinks grids leaves no view this empty: one is made by hand.
    full = view_of(9, 3)
    sparse = View(
        iteration=full.iteration,
        digest="sparse",
        members=(peer(2), peer(7)),
        incarnations={peer(2): 1, peer(7): 1},
        grid=full.grid,
        cell_of={peer(2): Cell(2), peer(7): Cell(7)},
        peer_at=tuple(peer(cell) if cell in (2, 7) else None for cell in range(9)),
    )
    players = default_players(sparse)
    assert len(players) == 9
    assert {players[Cell(2)], players[Cell(7)]} == {peer(2), peer(7)}
    # Cell 0 is on a line with 2, cell 1 with both of them: where nobody is apart, it is the turn that counts.
    assert (players[Cell(0)], players[Cell(1)]) == (peer(7), peer(7))
    assert set(players.values()) == {peer(2), peer(7)}


def test_nobody_plays_for_a_view_without_members() -> None:
    view = view_of(1, gone=(0,))
    assert view.members == ()
    assert default_players(view) == {}


def test_stranger_plays_no_cell() -> None:
    assert cells_of(view_of(5), peer(77)) == ()


def test_result_may_be_changed_without_harm() -> None:
    view = view_of(5)
    default_players(view).clear()
    assert len(default_players(view)) == 6


@given(views())
def test_every_cell_is_played_by_one_member_and_members_play_their_own(view: View) -> None:
    players = default_players(view)
    if view.members:
        assert sorted(players) == list(range(view.grid.cells))
        assert set(players.values()) == set(view.members)
    played = [cell for member in view.members for cell in cells_of(view, member)]
    assert sorted(played) == sorted(players)
    for member in view.members:
        assert players[view.cell_of[member]] == member
        assert cells_of(view, member)[0] == view.cell_of[member]


# take-over


def test_nobody_takes_over_before_the_first_exchange() -> None:
    view = view_of(10)
    assert all(candidates(view, Cell(cell), Round(1)) == () for cell in range(view.grid.cells))


def test_candidates_on_a_full_grid_are_the_line_of_the_round_before_then_their_equals() -> None:
    view = view_of(64)
    # Cell 27 is (1, 2, 3).
    assert numbers(candidates(view, Cell(27), Round(2))) == [11, 43, 59]
    line_of_round_2 = [19, 23, 31]
    equals = [cell for cell in range(3, 64, 4) if cell not in (27, *line_of_round_2)]
    assert numbers(candidates(view, Cell(27), Round(3))) == [*line_of_round_2, *equals]
    assert set(numbers(candidates(view, Cell(27), Round(4)))) == set(range(64)) - {27}


def test_candidates_come_in_order_of_ids_not_of_cells() -> None:
    view = view_of(16, gone=(1, 6), joining=(100, 200))
    assert (view.peer_at[1], view.peer_at[6]) == (peer(100), peer(200))
    assert numbers(candidates(view, Cell(13), Round(2))) == [5, 9, 100]
    assert numbers(candidates(view, Cell(2), Round(2))) == [10, 14, 200]


def test_stand_ins_come_after_those_who_sit_on_the_line() -> None:
    # 10 peers on 4 x 3: cells 10 and 11 are played by peers 0 and 1; cells 1, 4, 7, 10 are a line of round 1.
    view = view_of(10)
    assert numbers(candidates(view, Cell(4), Round(2))) == [1, 7, 0]
    assert numbers(candidates(view, Cell(10), Round(2))) == [1, 4, 7]
    # All hold the same after both rounds: first the line 9, 10, 11 of round 2, then everybody.
    assert numbers(candidates(view, Cell(9), Round(3))) == [0, 1, 2, 3, 4, 5, 6, 7, 8]


@given(views())
def test_candidates_hold_the_state_of_the_cell_and_nobody_else_does(view: View) -> None:
    if not view.members:
        return
    players = default_players(view)
    for cell in players:
        for round in range(2, view.grid.rounds + 2):
            equals = view.grid.same_state(cell, Round(round))
            ranked = candidates(view, cell, Round(round))
            assert len(set(ranked)) == len(ranked)
            assert set(ranked) == {players[equal] for equal in equals} - {players[cell]}
            line = view.grid.line(cell, Round(round - 1))
            near = {players[other] for other in line} - {players[cell]}
            assert set(ranked[: len(near)]) == near


def test_candidates_for_what_the_grid_does_not_have_are_refused() -> None:
    view = view_of(16)
    for cell, round in ((16, 2), (-1, 2), (16, 1), (0, 0), (0, 4)):
        with pytest.raises(LocalProtocolError):
            candidates(view, Cell(cell), Round(round))


def test_order_of_news_does_not_change_who_plays() -> None:
    rng = random.Random(5)
    course: list[tuple[MembershipKind, int, int]] = [("joined", -1, 40), ("left", 2, 12)]
    events = [
        MembershipEvent(peer_id=peer(number), incarnation=1, kind=kind, iteration=at)
        for kind, at, share in course
        for number in rng.sample(range(40), share)
    ]
    plays = []
    for _ in range(5):
        rng.shuffle(events)
        membership = Membership()
        for event in events:
            membership.add([event])
        view = membership.view(Iteration(4), 4)
        plays.append((default_players(view), candidates(view, Cell(0), Round(3))))
    assert all(play == plays[0] for play in plays)
