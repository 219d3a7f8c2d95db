"""The measured residual: by hand, and of simulated swarms beside what `mixing` comes to from the same values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.facts import Fact, LocalUpdateFinished, VectorSketched, ViewChanged
from marfl_peer.lab.mixing import mix_on_grid
from marfl_peer.lab.residuals import Residuals
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.lab.tally import Tally


def residuals_of(*facts: tuple[int, VectorSketched]) -> tuple[float, ...] | None:
    residuals = Residuals()
    for index, fact in facts:
        residuals.add(index, fact)
    return residuals.after_rounds()


def test_nothing_is_known_without_a_trace_or_a_round() -> None:
    assert residuals_of() is None


def test_residual_is_weighted_by_samples(told) -> None:
    # Mean 1; before: (3 * 1 + 1 * 9) / 4 = 3. After: (3 * 0.25 + 1 * 1) / 4.
    found = residuals_of(
        (0, told.sketched(1, 0, 0.0, weight=3)),
        (1, told.sketched(1, 0, 4.0, weight=1)),
        (0, told.sketched(1, 1, 0.5, weight=4)),
        (1, told.sketched(1, 1, 2.0, weight=4)),
    )
    assert found == pytest.approx((1.75 / 4 / 3,))


def test_peer_that_brings_nothing_or_is_lost_later_counts_only_for_what_it_brought(told) -> None:
    begun = [(0, told.sketched(1, 0, 0.0)), (1, told.sketched(1, 0, 2.0)), (2, told.sketched(1, 0, 99.0, weight=0))]
    after = [(0, told.sketched(1, 1, 1.0)), (2, told.sketched(1, 1, 1.0))]
    assert residuals_of(*begun, *after) == (0.0,)
    assert residuals_of(*begun) is None, "nobody is through with a round"
    assert residuals_of(*after) is None, "nobody told what it brought"


def test_equal_updates_have_no_residual(told) -> None:
    assert residuals_of(*((index, told.sketched(1, g, 3.0)) for index in range(2) for g in (0, 1))) is None


def test_rounds_that_begin_again_replace_the_first_ones(told) -> None:
    first = [(index, told.sketched(1, g, 7.0 * index)) for index in range(2) for g in (0, 1, 2)]
    again = [(index, told.sketched(1, 0, 2.0 * index)) for index in range(2)]
    assert residuals_of(*first, *again) is None
    assert residuals_of(*first, *again, (0, told.sketched(1, 1, 1.0))) == (0.0,)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9), st.randoms(use_true_random=False))
def test_order_between_peers_does_not_matter_and_means_leave_nothing(values: list[float], rng) -> None:
    mean = float(np.mean(values))

    def facts(index: int) -> list[tuple[int, VectorSketched]]:
        held = ((0, values[index]), (1, mean))
        return [(index, VectorSketched(iteration=1, round=round, weight=1, sketch=(value,))) for round, value in held]

    order = list(range(len(values)))
    rng.shuffle(order)
    found = residuals_of(*(fact for index in order for fact in facts(index)))
    assert found == residuals_of(*(fact for index in range(len(values)) for fact in facts(index)))
    if np.std(values) > 1e-6:
        assert found == pytest.approx((0.0,), abs=1e-12)


class Traced:
    """A simulated swarm that traces; peer 0 may die in the second iteration, before it brings its update."""

    def __init__(self, folder: Path, *, peers: int, group_size: int, loses_one: bool = False) -> None:
        self.tally = Tally()
        self.cells: dict[int, int] = {}
        self.brought: dict[int, np.ndarray] = {}
        self.weights: set[int] = set()
        self._loses_one = loses_one
        scenario = Scenario(seed=11, peers=peers, group_size=group_size, iterations=2, shards=peers, trace_mixing=True)
        simulation = Simulation(scenario, folder=folder, on_fact=self._heard)
        for player in simulation.players:
            simulation.start(player)
        assert simulation.run(deadline=500.0)
        simulation.close()

    def _heard(self, player: Player, fact: Fact) -> None:
        self.tally.add(player.index, fact)
        match fact:
            case ViewChanged(iteration=1, cell=int(cell)):
                self.cells[player.index] = cell
            case VectorSketched(iteration=2, round=0):
                self.brought[player.index] = np.array(fact.sketch)
                self.weights.add(fact.weight)
            case LocalUpdateFinished(iteration=2) if player.index == 0 and self._loses_one:
                player.host.crash()

    def expected(self, group_size: int) -> tuple[float, ...]:
        """By `mixing`, for each number of a sketch, from what was brought."""
        peers = len(self.cells)
        assert len(self.weights) == 1, "`mixing` measures with equal weights"
        present = np.zeros(peers, dtype=np.bool_)
        sketches = np.zeros((peers, len(next(iter(self.brought.values())))))
        for index, sketch in self.brought.items():
            present[self.cells[index]], sketches[self.cells[index]] = True, sketch
        sketches = sketches[:, np.var(sketches[present], axis=0) > 0]  # a model of few parameters leaves numbers empty
        columns = [mix_on_grid(column, np.ones(peers), present, group_size).residuals for column in sketches.T]
        before = np.var(sketches[present], axis=0)
        return tuple(np.average(columns, axis=0, weights=before))


@pytest.mark.parametrize(("peers", "group_size"), [(6, 3), (8, 3), (4, 4)])
def test_nothing_is_left_after_the_last_round_whatever_the_grid(tmp_path: Path, peers: int, group_size: int) -> None:
    traced = Traced(tmp_path, peers=peers, group_size=group_size)
    measured = traced.tally.row(2).mixing_residual
    assert measured is not None
    assert len(measured) == (2 if peers > 4 else 1)
    assert measured == pytest.approx(traced.expected(group_size), abs=1e-6)
    assert measured[-1] < 1e-9, "float rounding"
    assert all(0.05 < earlier < 0.7 for earlier in measured[:-1])


def test_residual_with_an_absent_peer_is_what_mixing_says(tmp_path: Path) -> None:
    traced = Traced(tmp_path, peers=8, group_size=2, loses_one=True)
    assert len(traced.brought) == 7
    measured = traced.tally.row(2).mixing_residual
    assert measured == pytest.approx(traced.expected(2), abs=1e-6)
    assert measured is not None and measured[-1] < 1e-9, "with stand-ins and take-over"


def test_swarm_that_does_not_trace_tells_no_sketches(tmp_path: Path) -> None:
    told: list[Fact] = []
    simulation = Simulation(
        Scenario(seed=1, peers=2, iterations=1), folder=tmp_path, on_fact=lambda _, fact: told.append(fact)
    )
    for player in simulation.players:
        simulation.start(player)
    assert simulation.run(deadline=100.0)
    simulation.close()
    assert told and not any(isinstance(fact, VectorSketched) for fact in told)
