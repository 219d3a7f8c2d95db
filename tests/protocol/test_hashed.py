from __future__ import annotations

import random

import numpy as np
import pytest
from hashed_network import hashed_peer
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.config import MAX_GROUP_SIZE, MAX_WEIGHT, Settings
from marfl_peer.errors import ConfigError, LocalProtocolError
from marfl_peer.ids import Iteration, Round, RunId
from marfl_peer.protocol.grid import Grid
from marfl_peer.protocol.hashed import (
    MAX_HASHED_GROUP_SIZE,
    WEIGHT_UNITS,
    Hashing,
    buckets_for,
    expected_residual,
    in_samples,
    in_units,
    rounds_for,
    seat_number,
    share,
    with_buckets,
)
from marfl_peer.protocol.seats import Holding

HASHING = Hashing(run_id=RunId("run"), buckets=8, rounds=3)
TWO = Round(2)


def test_buckets_are_about_equally_full_and_drawn_anew_in_every_round_and_iteration() -> None:
    peers = [hashed_peer(number) for number in range(4000)]
    draws = {
        (iteration, round): [HASHING.bucket(peer, Iteration(iteration), Round(round)) for peer in peers]
        for iteration in (1, 2)
        for round in (1, 2)
    }
    for drawn in draws.values():
        counts = np.bincount(drawn, minlength=8)
        assert len(counts) == 8
        assert np.abs(counts - 500).max() < 110, "five standard deviations"
    pairs = [(one, other) for one in draws for other in draws if one < other]
    for one, other in pairs:
        equal = np.mean([a == b for a, b in zip(draws[one], draws[other], strict=True)])
        assert equal == pytest.approx(1 / 8, abs=0.03)


def test_bucket_of_a_peer_never_changes() -> None:
    """Releases that hash otherwise would not meet."""
    assert [HASHING.bucket(hashed_peer(number), Iteration(7), TWO) for number in range(8)] == [4, 5, 1, 7, 2, 1, 2, 2]


def test_keys_differ_wherever_a_group_does() -> None:
    keys = {
        Hashing(run_id=RunId(run), buckets=8, rounds=3).key(Iteration(iteration), Round(round), bucket)
        for run in ("a", "b")
        for iteration in (1, 2)
        for round in (1, 2)
        for bucket in range(8)
    }
    assert len(keys) == 64


def test_digest_names_the_rules() -> None:
    digests = {
        Hashing(run_id=RunId(run), buckets=buckets, rounds=rounds).digest
        for run, buckets, rounds in [("a", 8, 3), ("b", 8, 3), ("a", 9, 3), ("a", 8, 2)]
    }
    assert len(digests) == 4
    assert all(len(digest) == 40 for digest in digests)


@pytest.mark.parametrize(
    ("peers", "group_size", "buckets", "rounds"),
    [
        (2, 4, 1, 1),
        (16, 4, 4, 2),
        (17, 4, 5, 3),
        (64, 4, 16, 3),
        (125, 5, 25, 3),
        (1024, 4, 256, 5),
        (100_000, 4, 25_000, 9),
    ],
)
def test_buckets_and_rounds_follow_from_peers_and_group_size(
    peers: int, group_size: int, buckets: int, rounds: int
) -> None:
    assert buckets_for(peers, group_size) == buckets
    assert rounds_for(buckets, group_size) == rounds
    assert rounds >= Grid.for_peers(peers, group_size).rounds


def test_rounds_take_no_floating_point_logarithm() -> None:
    for group_size in (2, 3, 5, 6, 7, 10, 13):
        for power in range(1, 9):
            assert rounds_for(group_size ** (power - 1), group_size) == power
            assert rounds_for(group_size ** (power - 1) + 1, group_size) == power + 1


def test_settings_say_how_many_buckets_and_rounds() -> None:
    settings = Settings(run_id="run", placement="hashed", buckets=16, group_size=4)
    assert Hashing.of(settings) == Hashing(run_id=RunId("run"), buckets=16, rounds=3)
    chosen = Settings(placement="hashed", buckets=16, rounds=7)
    assert Hashing.of(chosen).rounds == 7


def test_settings_without_buckets_are_refused() -> None:
    with pytest.raises(ConfigError, match="buckets: 0: say how many groups"):
        Hashing.of(Settings(placement="hashed"))


def test_groups_that_may_grow_too_large_are_refused() -> None:
    Hashing.of(Settings(placement="hashed", buckets=4, group_size=MAX_HASHED_GROUP_SIZE))
    with pytest.raises(ConfigError, match="group-size: 33: must be at most 32"):
        Hashing.of(Settings(placement="hashed", buckets=4, group_size=33))


def test_buckets_come_from_the_number_of_peers_unless_they_are_set() -> None:
    hashed = Settings(placement="hashed", group_size=4)
    assert with_buckets(hashed, 30).buckets == 8
    assert with_buckets(Settings(placement="hashed", buckets=3), 30).buckets == 3
    assert with_buckets(Settings(), 30).buckets == 0
    assert with_buckets(hashed, 1).buckets == 0, "nobody said how many there will be"


# weights

holdings = st.builds(
    Holding,
    weight=st.integers(0, MAX_WEIGHT * WEIGHT_UNITS * MAX_GROUP_SIZE),
    sums=st.tuples(st.floats(-1e9, 1e9)),
    maxima=st.tuples(st.integers(0, 9)),
)


@given(holdings, st.integers(1, MAX_GROUP_SIZE))
def test_shares_add_up_to_the_last_unit(total: Holding, count: int) -> None:
    members = [hashed_peer(number) for number in range(count)]
    shares = [share(total, members, member) for member in members]
    assert sum(one.weight for one in shares) == total.weight
    assert max(one.weight for one in shares) - min(one.weight for one in shares) <= 1
    assert sum(one.sums[0] for one in shares) == pytest.approx(total.sums[0])
    assert {one.maxima for one in shares} == {total.maxima}


def test_share_does_not_depend_on_the_order_in_which_members_are_named() -> None:
    total, members = Holding(weight=7, sums=(), maxima=()), [hashed_peer(number) for number in range(5)]
    for member in members:
        assert share(total, members, member) == share(total, members[::-1], member)


def test_stranger_has_no_share() -> None:
    with pytest.raises(LocalProtocolError):
        share(Holding(weight=7, sums=(), maxima=()), [hashed_peer(1)], hashed_peer(2))


@given(st.integers(0, MAX_WEIGHT))
def test_weight_comes_back_in_samples(weight: int) -> None:
    holding = Holding(weight=weight, sums=(1.0,), maxima=(2,))
    assert in_samples(in_units(holding)) == holding
    assert in_units(holding).weight * MAX_GROUP_SIZE < 2**62


def test_weight_of_a_fraction_of_a_sample_is_not_nothing() -> None:
    assert in_samples(Holding(weight=1, sums=(), maxima=())).weight == 1


def test_seats_are_in_the_order_of_the_ids() -> None:
    peers = sorted(hashed_peer(number) for number in range(200))
    seats = [seat_number(peer) for peer in peers]
    assert seats == sorted(seats)
    assert seats[0] >= 0 and seats[-1] < 2**31


# theory


@pytest.mark.parametrize(("peers", "buckets"), [(16, 4), (100, 25), (50, 50), (64, 3)])
def test_residual_of_a_round_is_as_expected(peers: int, buckets: int) -> None:
    rng = np.random.default_rng(peers)
    kept = []
    for _ in range(1500):
        values, drawn = rng.normal(size=peers), rng.integers(0, buckets, size=peers)
        values -= values.mean()
        counts = np.bincount(drawn, minlength=buckets)
        means = np.bincount(drawn, weights=values, minlength=buckets) / np.maximum(counts, 1)
        kept.append((means[drawn] ** 2).sum() / (values**2).sum())
    assert np.mean(kept) == pytest.approx(expected_residual(peers, buckets), rel=0.06)
    assert expected_residual(peers, buckets) <= (buckets - 1) / (peers - 1)


def test_residual_of_one_bucket_is_nothing() -> None:
    assert expected_residual(10, 1) == pytest.approx(0.0)
    assert expected_residual(1, 4) == 0.0


def test_sums_over_all_peers_stay_under_the_rule_of_weights() -> None:
    """Groups of any sizes, unequal weights: what the rule is for."""
    rng = random.Random(5)
    members = [hashed_peer(number) for number in range(30)]
    held = {member: (rng.gauss(0, 1), rng.randint(1, 900) * WEIGHT_UNITS) for member in members}
    before = sum(value * weight for value, weight in held.values()), sum(weight for _, weight in held.values())
    for round in (1, 2, 3):
        groups: dict[int, list] = {}
        for member in members:
            groups.setdefault(HASHING.bucket(member, Iteration(1), Round(round)), []).append(member)
        for group in groups.values():
            total = sum(held[member][1] for member in group)
            mean = sum(value * weight for value, weight in (held[member] for member in group)) / total
            whole = Holding(weight=total, sums=(), maxima=())
            for member in group:
                held[member] = mean, share(whole, group, member).weight
    assert sum(weight for _, weight in held.values()) == before[1]
    assert sum(value * weight for value, weight in held.values()) == pytest.approx(before[0], rel=1e-9)
