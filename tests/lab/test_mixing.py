from __future__ import annotations

import numpy as np
import pytest

from marfl_peer.lab.mixing import Mixed, Placement, Rule, average, mix
from marfl_peer.protocol.grid import Grid


def trials(placement: Placement, peers: int, *, count: int = 60, seed: int = 1, **named: object) -> Mixed:
    rng = np.random.default_rng(seed)
    return average([mix(placement, peers, 4, rng, **named) for _ in range(count)])  # type: ignore[arg-type]


@pytest.mark.parametrize("peers", [1, 2, 5, 16, 17, 100, 1024])
def test_grid_comes_to_the_mean_of_every_number_of_peers(peers: int) -> None:
    if peers == 1:
        assert mix("grid", 1, 4, np.random.default_rng(0)).residuals == ()
        return
    mixed = trials("grid", peers, count=3, weights="unequal")
    assert mixed.rounds == Grid.for_peers(peers, 4).rounds
    assert mixed.residual < 1e-20
    assert mixed.shift < 1e-20
    assert mixed.expected == 0


@pytest.mark.parametrize("absent", [0.2, 0.5])
def test_grid_comes_to_the_mean_of_those_who_are_there(absent: float) -> None:
    mixed = trials("grid", 64, absent=absent)
    assert mixed.residual < 1e-20
    assert mixed.expected is None


@pytest.mark.parametrize("placement", ["equal", "hashed"])
@pytest.mark.parametrize("peers", [64, 1024])
def test_groups_by_chance_leave_what_theory_says_in_every_round(placement: Placement, peers: int) -> None:
    mixed = trials(placement, peers, count=150)
    assert mixed.expected is not None
    a_round = mixed.expected ** (1 / mixed.rounds)
    for round, residual in enumerate(mixed.residuals, 1):
        assert residual == pytest.approx(a_round**round, rel=0.25)
    assert mixed.shift < 1e-20
    if placement == "equal":
        assert a_round == pytest.approx((peers / 4 - 1) / (peers - 1))
    else:
        assert a_round < (peers / 4 - 1) / (peers - 1)


def test_absence_makes_groups_smaller_but_keeps_the_mean_of_the_others() -> None:
    whole, partial = trials("hashed", 1024), trials("hashed", 1024, absent=0.2)
    assert partial.residual > whole.residual
    assert partial.residual == pytest.approx(partial.expected, rel=0.3)
    assert partial.shift < 1e-20


def test_only_shares_keep_the_weighted_mean() -> None:
    rules: tuple[Rule, ...] = ("share", "sum", "ignored")
    shifts = {rule: trials("hashed", 256, rule=rule, weights="unequal").shift for rule in rules}
    assert shifts["share"] < 1e-20
    assert shifts["sum"] > 1e-4
    assert shifts["ignored"] > 1e-4
    assert trials("hashed", 256, rule="sum").expected is None


def test_same_seed_gives_the_same_figures() -> None:
    assert trials("hashed", 100, count=2) == trials("hashed", 100, count=2)
    assert trials("hashed", 100, count=2) != trials("hashed", 100, count=2, seed=2)
