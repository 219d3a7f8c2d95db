"""Groups by lot: everybody once, sizes that differ by one at most, the same for all who have the same view; and how
much of the variance a round leaves."""

from __future__ import annotations

import math
import random
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.ids import Iteration, PeerId, Round
from marfl_peer.lab.baselines.drawing import NOBODYS, Drawing, cuts_of
from marfl_peer.protocol.view import FOUNDING, Membership, MembershipEvent, View


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def view_of(count: int, iteration: int = 1) -> View:
    membership = Membership()
    membership.add(
        MembershipEvent(peer_id=peer(number), incarnation=0, kind="joined", iteration=FOUNDING)
        for number in range(count)
    )
    return membership.view(Iteration(iteration), 4)


@given(count=st.integers(1, 70), size=st.integers(2, 9), seed=st.integers(0, 2**32 - 1), round=st.integers(1, 5))
def test_everybody_is_in_one_group_and_sizes_differ_by_one_at_most(
    count: int, size: int, seed: int, round: int
) -> None:
    view = view_of(count)
    drawing = Drawing(view, seed=seed, size=size, rounds=5)
    groups = drawing.groups(Round(round))
    assert sorted(member for group in groups for member in group) == list(view.members)
    sizes = {len(group) for group in groups}
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert len(groups) == math.ceil(count / size)
    for number, group in enumerate(groups):
        assert list(group) == sorted(group)
        for member in group:
            assert drawing.bucket(member, Iteration(1), Round(round)) == number
            assert drawing.mates(member, Round(round)) == group


@pytest.mark.parametrize("count", [3, 5, 8])
def test_pairs_leave_one_alone_where_the_number_is_odd(count: int) -> None:
    groups = Drawing(view_of(count), seed=1, size=2, rounds=1).groups(Round(1))
    assert sorted(map(len, groups)) == [1] * (count % 2) + [2] * (count // 2)


def test_groups_are_other_ones_in_every_round_iteration_and_run() -> None:
    def groups(iteration: int, round: int, seed: int) -> tuple[tuple[PeerId, ...], ...]:
        return Drawing(view_of(12, iteration), seed=seed, size=4, rounds=2).groups(Round(round))

    places = [(iteration, round, seed) for iteration in (1, 2) for round in (1, 2) for seed in (1, 2)]
    assert len({groups(*place) for place in places}) == len(places)
    assert groups(1, 1, 1) == groups(1, 1, 1)


def test_strangers_and_other_iterations_have_no_group() -> None:
    drawing = Drawing(view_of(4), seed=1, size=2, rounds=1)
    assert drawing.bucket(peer(9), Iteration(1), Round(1)) == NOBODYS
    assert drawing.bucket(peer(0), Iteration(2), Round(1)) == NOBODYS
    assert drawing.mates(peer(9), Round(1)) == ()


def test_digest_is_that_of_the_view() -> None:
    view = view_of(4)
    assert Drawing(view, seed=1, size=2, rounds=1).digest == view.digest


@pytest.mark.parametrize(("count", "size"), [(16, 4), (12, 3), (8, 2), (6, 3)])
def test_round_of_equal_groups_leaves_its_share_of_the_variance_on_average(count: int, size: int) -> None:
    """(r - 1) / (N - 1): the mean of many rounds is within three standard errors of it, and these are small."""
    rng = random.Random(f"{count} {size}")
    values = {peer(number): rng.gauss(0.0, 1.0) for number in range(count)}
    before = statistics.pvariance(values.values())
    left = []
    for iteration in range(1, 801):
        groups = Drawing(view_of(count, iteration), seed=7, size=size, rounds=1).groups(Round(1))
        means = [statistics.fmean(values[member] for member in group) for group in groups]
        left.append(statistics.pvariance(means) / before)
    error = statistics.stdev(left) / math.sqrt(len(left))
    expected = (count // size - 1) / (count - 1)
    assert error < 0.05 * expected
    assert statistics.fmean(left) == pytest.approx(expected, abs=3 * error)


@given(st.integers(1, 400), st.integers(2, 64))
def test_cuts_leave_groups_that_are_alike_and_as_few_as_can_be(peers: int, size: int) -> None:
    sizes = [stop - start for start, stop in pairwise(cuts_of(peers, size))]
    assert sum(sizes) == peers
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-peers // size)
