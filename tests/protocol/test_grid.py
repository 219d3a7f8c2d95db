from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.errors import LocalProtocolError
from marfl_peer.ids import Cell, Round, RunId
from marfl_peer.protocol.grid import Grid, group_key

grids = st.builds(Grid.for_peers, st.integers(1, 300), st.integers(2, 9))


@st.composite
def grids_with_cell(draw: st.DrawFn) -> tuple[Grid, Cell]:
    grid = draw(grids)
    return grid, Cell(draw(st.integers(0, grid.cells - 1)))


@pytest.mark.parametrize(
    ("peers", "group_size", "shape"),
    [
        (1, 4, ()),
        (2, 4, (2,)),
        (4, 4, (4,)),
        (5, 4, (3, 2)),
        (10, 4, (4, 3)),
        (16, 4, (4, 4)),
        (16, 8, (4, 4)),
        (17, 4, (3, 3, 2)),
        (64, 4, (4, 4, 4)),
        (64, 8, (8, 8)),
        (100, 5, (5, 5, 4)),
        (125, 5, (5, 5, 5)),
        (126, 5, (4, 4, 4, 2)),
        (8, 2, (2, 2, 2)),
        (9, 2, (2, 2, 2, 2)),
        (243, 3, (3, 3, 3, 3, 3)),
        (1000, 10, (10, 10, 10)),
    ],
)
def test_shape_for_peers_and_group_size(peers: int, group_size: int, shape: tuple[int, ...]) -> None:
    assert Grid.for_peers(peers, group_size) == Grid(shape)


def test_shape_is_the_smallest_of_all_shapes_that_fit() -> None:
    for group_size in range(2, 7):
        for peers in range(1, 130):
            rounds = next(rounds for rounds in itertools.count() if group_size**rounds >= peers)
            axes = itertools.product(range(1, group_size + 1), repeat=rounds)
            fitting = [shape for shape in axes if math.prod(shape) >= peers]
            cells = min(math.prod(shape) for shape in fitting)
            flattest = min(sum(shape) for shape in fitting if math.prod(shape) == cells)
            shape = Grid.for_peers(peers, group_size).shape
            assert len(shape) == rounds
            assert (math.prod(shape), sum(shape)) == (cells, flattest)
            assert shape == tuple(sorted(shape, reverse=True))


def test_shape_of_many_peers_has_no_more_rounds_than_exact_powers_need() -> None:
    for group_size, rounds in [(5, 3), (10, 3), (3, 7), (64, 2), (2, 12)]:
        power = group_size**rounds
        assert Grid.for_peers(power, group_size).shape == (group_size,) * rounds
        assert Grid.for_peers(power + 1, group_size).rounds == rounds + 1


@pytest.mark.parametrize(("peers", "group_size"), [(0, 4), (-1, 4), (3, 1), (3, 0)])
def test_shape_of_impossible_swarms_is_refused(peers: int, group_size: int) -> None:
    with pytest.raises(LocalProtocolError):
        Grid.for_peers(peers, group_size)


def test_cells_are_row_major() -> None:
    grid = Grid((4, 3, 2))
    everywhere = list(itertools.product(range(4), range(3), range(2)))
    assert [grid.coordinates(Cell(cell)) for cell in range(grid.cells)] == everywhere


def test_one_cell_has_no_coordinates_and_no_rounds() -> None:
    alone = Grid(())
    assert (alone.cells, alone.rounds) == (1, 0)
    assert alone.coordinates(Cell(0)) == ()
    assert alone.same_state(Cell(0), Round(1)) == (0,)


@given(grids_with_cell())
def test_line_holds_the_cells_that_differ_on_the_axis_of_the_round(place: tuple[Grid, Cell]) -> None:
    grid, cell = place
    here = grid.coordinates(cell)
    for round in range(1, grid.rounds + 1):
        expected = []
        for other in range(grid.cells):
            there = grid.coordinates(Cell(other))
            if all(here[axis] == there[axis] for axis in range(grid.rounds) if axis != round - 1):
                expected.append(other)
        assert grid.line(cell, Round(round)) == tuple(expected)
        assert grid.line_name(cell, Round(round)) == expected[0]


@given(grids)
def test_lines_of_a_round_cover_every_cell_once(grid: Grid) -> None:
    for round in range(1, grid.rounds + 1):
        lines = grid.lines(Round(round))
        assert sorted(cell for line in lines for cell in line) == list(range(grid.cells))
        assert [line[0] for line in lines] == sorted(line[0] for line in lines)
        assert all(grid.line(cell, Round(round)) == line for line in lines for cell in line)


@given(grids_with_cell())
def test_same_state_follows_from_the_lines_of_the_rounds_before(place: tuple[Grid, Cell]) -> None:
    grid, cell = place
    reached = {cell}
    for round in range(1, grid.rounds + 2):
        assert grid.same_state(cell, Round(round)) == tuple(sorted(reached))
        if round <= grid.rounds:
            reached = {other for known in reached for other in grid.line(known, Round(round))}
    assert len(reached) == grid.cells


@pytest.mark.parametrize("cell", [-1, 16])
def test_cell_outside_of_the_grid_is_refused(cell: int) -> None:
    grid = Grid((4, 4))
    for ask in (
        grid.coordinates,
        lambda cell: grid.line(cell, Round(1)),
        lambda cell: grid.same_state(cell, Round(1)),
    ):
        with pytest.raises(LocalProtocolError):
            ask(Cell(cell))


@pytest.mark.parametrize("round", [0, 3, -1])
def test_round_that_the_grid_does_not_have_is_refused(round: int) -> None:
    grid = Grid((4, 4))
    for ask in (lambda: grid.line(Cell(0), Round(round)), lambda: grid.lines(Round(round))):
        with pytest.raises(LocalProtocolError):
            ask()
    with pytest.raises(LocalProtocolError):
        grid.same_state(Cell(0), Round(4 if round == 3 else round))


@given(grids)
def test_group_key_is_shared_by_a_line_and_by_nobody_else(grid: Grid) -> None:
    keys: dict[bytes, tuple[int, Cell]] = {}
    for round in range(1, grid.rounds + 1):
        for cell in map(Cell, range(grid.cells)):
            key = group_key(RunId("run"), grid.shape, Round(round), grid.coordinates(cell))
            line = (round, grid.line_name(cell, Round(round)))
            assert keys.setdefault(key, line) == line
    assert len(keys) == sum(len(grid.lines(Round(round))) for round in range(1, grid.rounds + 1))


def test_group_key_differs_between_runs_and_shapes() -> None:
    keys = {
        group_key(RunId("a"), (4, 4), Round(1), (0, 1)),
        group_key(RunId("b"), (4, 4), Round(1), (0, 1)),
        group_key(RunId("a"), (4, 3), Round(1), (0, 1)),
    }
    assert len(keys) == 3
    assert all(len(key) == 20 for key in keys)
