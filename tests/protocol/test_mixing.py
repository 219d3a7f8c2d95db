"""The mathematics of a swarm, without messages: an executable specification of averaging over the grid.

Every cell carries (value, weight). A round replaces the values of the cells on a line by their weighted mean and the
weights by their sum. Stand-ins start with weight 0; who is lost is taken over from the second round on.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Mapping
from fractions import Fraction

import numpy as np
import pytest

from marfl_peer.ids import Cell, Iteration, PeerId, Round
from marfl_peer.protocol.grid import Grid
from marfl_peer.protocol.placement import candidates, cells_of, default_players
from marfl_peer.protocol.view import Membership, MembershipEvent, MembershipKind, View

State = tuple[Fraction, int]
LOST_SIZES = [1, 2, 3, 5, 7, 10, 16, 17, 23, 64]


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def event(number: int, kind: MembershipKind, at: int, incarnation: int = 1) -> MembershipEvent:
    return MembershipEvent(peer_id=peer(number), incarnation=incarnation, kind=kind, iteration=at)


def founded(count: int) -> Membership:
    membership = Membership()
    membership.add(event(number, "joined", -1) for number in range(count))
    return membership


def founding_view(count: int, group_size: int) -> View:
    return founded(count).view(Iteration(1), group_size)


def churned_view(seed: int, count: int, group_size: int) -> View:
    """A view with holes: peers come and go one at a time, so that cells stay sticky."""
    rng, membership = random.Random(seed), founded(count)
    for at in range(count // 3):
        number = rng.randrange(count)
        status = membership.status(peer(number))
        assert status is not None
        back = status.kind != "joined"
        incarnation = status.incarnation + back
        membership.add([event(number, "joined" if back else "lost", at, incarnation)])
    return membership.view(Iteration(count), group_size)


def shares_a_line(view: View, member: PeerId) -> bool:
    """Whether two of the cells that it plays lie on one line."""
    places = [view.grid.coordinates(cell) for cell in cells_of(view, member)]
    pairs = itertools.combinations(places, 2)
    return any(sum(x != y for x, y in zip(one, other, strict=True)) == 1 for one, other in pairs)


class Swarm:
    """Peers that hold the states of the cells they play, exactly, and vanish with all they hold."""

    def __init__(self, view: View, initial: Mapping[PeerId, State]) -> None:
        self.view = view
        self.live = set(view.members)
        self.player: dict[Cell, PeerId] = default_players(view)
        self.held: dict[Cell, State] = {}
        self.whole_line_lost = False
        for cell, member in self.player.items():
            value, weight = initial[member]
            self.held[cell] = (value, weight if view.cell_of[member] == cell else 0)

    def lose(self, peers: Collection[PeerId]) -> None:
        self.live -= set(peers)
        for cell in [cell for cell in self.held if self.player[cell] not in self.live]:
            del self.held[cell]

    def take_over(self, round: Round) -> None:
        """Every cell without a player gets the first candidate that lives, with what that one holds."""
        played = dict(self.player)
        for cell in set(self.player) - set(self.held):
            taker = next((one for one in candidates(self.view, cell, round) if one in self.live), None)
            if taker is None:
                self.whole_line_lost |= round > 1
                continue
            own = {equal for equal in self.view.grid.same_state(cell, round) if played[equal] == taker}
            states = {self.held[equal] for equal in own if equal in self.held}
            assert len({state for state in states if state[1]}) <= 1, "equal cells must hold equal states"
            self.held[cell] = max(states, key=lambda state: state[1])
            self.player[cell] = taker

    def average(self, round: Round) -> None:
        for line in self.view.grid.lines(round):
            # A peer with two cells on the line is one member: their weighted mean with the summed weight.
            members: dict[PeerId, list[State]] = {}
            for cell in line:
                if cell in self.held:
                    members.setdefault(self.player[cell], []).append(self.held[cell])
            result = weighted_mean([weighted_mean(states) for states in members.values()])
            for cell in line:
                if cell in self.held and result[1]:
                    self.held[cell] = result

    def run(self, lost_before: Mapping[int, Collection[PeerId]], with_take_over: bool = True) -> None:
        for round in map(Round, range(1, self.view.grid.rounds + 1)):
            self.lose(lost_before.get(round, ()))
            if with_take_over:
                self.take_over(round)
            self.average(round)

    def results(self) -> list[Fraction]:
        """What each live peer ends with."""
        return [self.held[self.view.cell_of[member]][0] for member in sorted(self.live)]


def weighted_mean(states: list[State]) -> State:
    total = sum(weight for _, weight in states)
    if total == 0:
        return states[0] if states else (Fraction(0), 0)
    return sum((value * weight for value, weight in states), Fraction(0)) / total, total


def states_of(view: View, rng: random.Random, zeros: float = 0.0) -> dict[PeerId, State]:
    return {
        member: (Fraction(rng.randint(-999, 999)), 0 if rng.random() < zeros else rng.randint(1, 500))
        for member in view.members
    }


def mean_of(initial: Mapping[PeerId, State], absent: Collection[PeerId] = ()) -> Fraction:
    return weighted_mean([state for member, state in initial.items() if member not in absent])[0]


# every size


@pytest.mark.parametrize("group_size", [3, 4, 5, 8])
def test_every_cell_ends_with_the_weighted_mean_for_every_swarm_size(group_size: int) -> None:
    rng = np.random.default_rng(group_size)
    for count in range(1, 300):
        grid, players = Grid.for_peers(count, group_size), default_players(founding_view(count, group_size))
        values, weights = rng.normal(size=count), rng.integers(0, 1000, size=count)
        weights[rng.random(count) < 0.2] = 0
        weights[rng.integers(count)] = 7
        value = np.array([values[int(players[Cell(cell)], 16)] for cell in range(grid.cells)])
        weight = np.zeros(grid.cells, dtype=np.int64)
        weight[:count] = weights
        for round in range(1, grid.rounds + 1):
            lines = np.array(grid.lines(Round(round)))
            total = weight[lines].sum(axis=1, keepdims=True)
            # Added up in the order of the cells, so that lines with equal inputs give equal bits.
            added = np.add.accumulate((value * weight)[lines], axis=1)[:, -1:]
            value[lines] = np.where(total > 0, added / np.maximum(total, 1), value[lines])
            weight[lines] = total
        assert np.abs(value - np.average(values, weights=weights)).max() < 1e-9
        assert len({one.tobytes() for one in value}) == 1
        assert (weight == weights.sum()).all()


@pytest.mark.parametrize(("group_size", "overhead"), [(3, 1.19), (4, 1.10), (5, 1.06), (8, 1.03)])
def test_stand_ins_are_few(group_size: int, overhead: float) -> None:
    ratios = [Grid.for_peers(count, group_size).cells / count for count in range(1, 300)]
    assert round(sum(ratios) / len(ratios), 2) == overhead


@pytest.mark.parametrize("group_size", [2, 3, 4, 5, 6, 7, 8, 16])
def test_stand_in_never_shares_a_line_with_its_founding_player(group_size: int) -> None:
    for count in range(1, 300):
        grid = Grid.for_peers(count, group_size)
        assert grid.cells < 2 * count
        for cell in range(count, grid.cells):
            pairs = zip(grid.coordinates(Cell(cell)), grid.coordinates(Cell(cell - count)), strict=True)
            assert sum(one != other for one, other in pairs) >= 2


@pytest.mark.parametrize(("count", "group_size"), [(4, 4), (16, 4), (64, 4), (125, 5), (27, 3), (60, 5), (128, 2)])
def test_no_two_peers_meet_twice_on_a_full_grid(count: int, group_size: int) -> None:
    grid = Grid.for_peers(count, group_size)
    assert grid.cells == count
    met = [
        pair
        for round in range(1, grid.rounds + 1)
        for line in grid.lines(Round(round))
        for pair in itertools.combinations(line, 2)
    ]
    assert len(met) == len(set(met))
    assert len(met) == count * sum(length - 1 for length in grid.shape) // 2


# weights


def test_swarm_without_any_weight_keeps_its_values() -> None:
    view = founding_view(10, 4)
    initial = {member: (Fraction(number), 0) for number, member in enumerate(view.members)}
    swarm = Swarm(view, initial)
    swarm.run({})
    assert swarm.results() == list(range(10))


@pytest.mark.parametrize("count", [5, 16, 23])
def test_only_peer_with_a_weight_gives_everybody_its_value(count: int) -> None:
    view = founding_view(count, 4)
    for chosen in view.members:
        initial = {member: (Fraction(int(member, 16)), 3 if member == chosen else 0) for member in view.members}
        swarm = Swarm(view, initial)
        swarm.run({})
        assert set(swarm.results()) == {int(chosen, 16)}


# losses


@pytest.mark.parametrize("count", LOST_SIZES)
@pytest.mark.parametrize("group_size", [3, 4])
def test_mean_of_all_who_started_survives_one_loss_before_any_round(count: int, group_size: int) -> None:
    view, rng = founding_view(count, group_size), random.Random(count)
    for round in range(1, view.grid.rounds + 1):
        for victim in view.members if count < 20 else rng.sample(view.members, 8):
            initial = states_of(view, rng, zeros=0.1)
            expected = mean_of(initial, absent=[victim] if round == 1 else [])
            swarm = Swarm(view, initial)
            swarm.run({round: [victim]})
            assert not swarm.whole_line_lost
            if any(weight for member, (_, weight) in initial.items() if member != victim):
                assert set(swarm.results()) == {expected}
                assert len(swarm.results()) == count - 1


@pytest.mark.parametrize("count", LOST_SIZES)
def test_mean_survives_another_loss_before_every_round(count: int) -> None:
    exact = 0
    for seed in range(10):
        view, rng = founding_view(count, 4), random.Random(seed)
        initial = states_of(view, rng)
        victims = rng.sample(view.members, min(view.grid.rounds, count - 1))
        swarm = Swarm(view, initial)
        swarm.run({round: [victim] for round, victim in enumerate(victims, start=1)})
        if not swarm.whole_line_lost:
            exact += 1
            assert set(swarm.results()) == {mean_of(initial, absent=victims[:1])}
    assert exact >= 5


def test_absence_at_the_start_never_harms_the_others() -> None:
    view = founding_view(64, 4)
    for seed in range(20):
        rng = random.Random(seed)
        initial = states_of(view, rng)
        absent = [member for member in view.members if rng.random() < 0.2]
        swarm = Swarm(view, initial)
        swarm.run({1: absent})
        assert swarm.whole_line_lost or set(swarm.results()) == {mean_of(initial, absent)}


def test_absence_of_a_whole_line_leaves_a_gap_that_the_third_round_closes() -> None:
    view = founding_view(64, 4)
    initial = states_of(view, random.Random(1))
    absent = [peer(cell) for cell in view.grid.line(Cell(5), Round(1))]
    swarm = Swarm(view, initial)
    swarm.run({1: absent})
    assert swarm.whole_line_lost
    assert set(swarm.results()) == {mean_of(initial, absent)}


def residual(swarm: Swarm, initial: Mapping[PeerId, State], absent: Collection[PeerId]) -> float:
    """Mean squared distance from the mean of all who started, relative to the variance at the start."""
    mean = mean_of(initial, absent)
    values = [value for member, (value, _) in initial.items() if member not in absent]
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    results = swarm.results()
    return float(sum((value - mean) ** 2 for value in results) / len(results) / variance)


def outcomes_of_losses(lost_counts: tuple[int, int, int], seeds: int) -> list[tuple[bool, float, float]]:
    """(whether a whole line was lost, residual, residual if nobody took over) of 64 peers, a seed each."""
    view, outcomes = founding_view(64, 4), []
    for seed in range(seeds):
        rng = random.Random(seed)
        initial = states_of(view, rng)
        order = iter(rng.sample(view.members, 64))
        lost = {round: list(itertools.islice(order, count)) for round, count in enumerate(lost_counts, start=1)}
        swarm, without = Swarm(view, initial), Swarm(view, initial)
        swarm.run(lost)
        without.run(lost, with_take_over=False)
        with_take_over, without_it = (residual(one, initial, lost[1]) for one in (swarm, without))
        outcomes.append((swarm.whole_line_lost, with_take_over, without_it))
    return outcomes


@pytest.mark.parametrize("lost_counts", [(13, 0, 0), (0, 6, 6)])
def test_residual_is_zero_with_a_fifth_absent_or_a_tenth_lost_later(lost_counts: tuple[int, int, int]) -> None:
    for _, with_take_over, without in outcomes_of_losses(lost_counts, seeds=20):
        assert with_take_over == 0
        # The same losses would show.
        assert without > 1e-4


def test_residual_is_zero_with_losses_before_every_round_unless_a_whole_line_goes() -> None:
    outcomes = outcomes_of_losses((13, 5, 5), seeds=40)
    assert all(with_take_over == 0 for line_lost, with_take_over, _ in outcomes if not line_lost)
    assert any(with_take_over > 0 for line_lost, with_take_over, _ in outcomes if line_lost)
    assert max(with_take_over for _, with_take_over, _ in outcomes) < 1e-2
    assert sum(line_lost for line_lost, _, _ in outcomes) < 20


# holes


@pytest.mark.parametrize("group_size", [2, 3, 4, 5])
def test_mean_is_exact_in_a_grid_with_holes_where_nobody_plays_two_cells_of_one_line(group_size: int) -> None:
    holes = 0
    for seed, count in itertools.product(range(4), (7, 16, 23, 40)):
        view = churned_view(seed, count, group_size)
        holes += view.grid.cells - len(view.members)
        assert not any(shares_a_line(view, member) for member in view.members)
        initial = states_of(view, random.Random(seed), zeros=0.2)
        swarm = Swarm(view, initial)
        swarm.run({})
        assert set(swarm.results()) == {mean_of(initial)}
    assert holes >= 20


def test_mean_survives_a_loss_in_a_grid_with_holes() -> None:
    exact = 0
    for seed in range(12):
        view, rng = churned_view(seed, 23, 4), random.Random(seed)
        for round in range(1, view.grid.rounds + 1):
            for victim in rng.sample(view.members, 4):
                initial = states_of(view, rng)
                swarm = Swarm(view, initial)
                swarm.run({round: [victim]})
                if not swarm.whole_line_lost:
                    exact += 1
                    assert set(swarm.results()) == {mean_of(initial, [victim] if round == 1 else [])}
    assert exact >= 100
