from __future__ import annotations

import hashlib
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.ids import PeerId
from marfl_peer.protocol.participation import Stage, participants

SHARES = st.integers(1, 1000).map(lambda thousandths: thousandths / 1000)


def peers(count: int) -> list[PeerId]:
    return [PeerId(hashlib.sha256(b"%d" % number).hexdigest()[:40]) for number in range(count)]


@given(count=st.integers(0, 60), share=SHARES, seed=st.integers(0, 9), iteration=st.integers(1, 99))
def test_participants_are_as_many_as_the_share_says(count: int, share: float, seed: int, iteration: int) -> None:
    drawn = participants(Stage.UPDATE, peers(count), seed=seed, iteration=iteration, share=share)
    exact = Fraction(repr(share)) * count
    assert exact <= len(drawn) < exact + 1
    assert len(set(drawn)) == len(drawn) and set(drawn) <= set(peers(count))


@given(count=st.integers(1, 60), order=st.randoms(use_true_random=False), stage=st.sampled_from(Stage))
def test_participants_are_the_same_in_whatever_order_members_come(count: int, order, stage: Stage) -> None:
    members = peers(count)
    drawn = participants(stage, members, seed=1, iteration=7, share=0.5)
    order.shuffle(members)
    assert participants(stage, members, seed=1, iteration=7, share=0.5) == drawn


@given(count=st.integers(1, 60), shares=st.tuples(SHARES, SHARES), iteration=st.integers(1, 99))
def test_participants_of_a_share_are_among_those_of_a_larger_one(
    count: int, shares: tuple[float, float], iteration: int
) -> None:
    fewer, more = (
        participants(Stage.AGGREGATE, peers(count), seed=3, iteration=iteration, share=share)
        for share in sorted(shares)
    )
    assert set(fewer) <= set(more)


@given(count=st.integers(1, 60), stage=st.sampled_from(Stage))
def test_everybody_takes_part_in_the_whole(count: int, stage: Stage) -> None:
    assert participants(stage, peers(count), seed=0, iteration=1, share=1.0) == tuple(sorted(peers(count)))


@given(stay=st.integers(20, 40), iteration=st.integers(1, 99))
def test_departure_of_an_idle_peer_draws_nobody_out(stay: int, iteration: int) -> None:
    members = peers(stay)
    drawn = participants(Stage.UPDATE, members, seed=0, iteration=iteration, share=0.5)
    idle = next(peer for peer in members if peer not in drawn)
    others = [peer for peer in members if peer != idle]
    assert set(participants(Stage.UPDATE, others, seed=0, iteration=iteration, share=0.5)) <= set(drawn)


@pytest.mark.parametrize("share, count, expected", [(0.55, 20, 11), (0.1, 10, 1), (0.2, 64, 13), (1e-05, 3, 1)])
def test_share_is_taken_as_it_was_written(share: float, count: int, expected: int) -> None:
    assert len(participants(Stage.UPDATE, peers(count), seed=0, iteration=1, share=share)) == expected


@pytest.mark.parametrize("stage", list(Stage))
def test_over_time_everybody_takes_part_equally_often(stage: Stage) -> None:
    turns = 2000
    times = Counter(
        peer for turn in range(turns) for peer in participants(stage, peers(16), seed=5, iteration=turn, share=0.25)
    )
    assert sum(times.values()) == turns * 4
    spread = (turns * 0.25 * 0.75) ** 0.5
    assert all(abs(times[peer] - turns / 4) < 5 * spread for peer in peers(16))


def test_iterations_seeds_and_stages_draw_anew() -> None:
    drawn = {
        participants(stage, peers(40), seed=seed, iteration=iteration, share=0.5)
        for stage in Stage
        for seed in (0, 1)
        for iteration in (1, 2)
    }
    assert len(drawn) == 8
