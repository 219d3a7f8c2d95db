from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from one_line import NAME, ballot, here, propose

from marfl_peer.protocol.messages import MAX_SPEED, Done
from marfl_peer.protocol.speeds import (
    ASSUMED_LINK_BYTES_PER_S,
    FAST_LINK_BYTES_PER_S,
    REMEMBERED,
    SLOWEST_AWAITED,
    Speeds,
    rate_of,
    speed_of,
)

SLOW = speed_of(2.5e6)


@pytest.mark.parametrize("rate", [0.0, 0.5, -1.0, math.nan])
def test_rate_that_is_none_is_not_known(rate: float) -> None:
    assert speed_of(rate) == 0


@pytest.mark.parametrize("rate", [FAST_LINK_BYTES_PER_S, 1e12, math.inf])
def test_links_that_are_fast_enough_are_all_alike(rate: float) -> None:
    assert speed_of(rate) == speed_of(FAST_LINK_BYTES_PER_S) == MAX_SPEED


@given(st.floats(2.0, FAST_LINK_BYTES_PER_S))
def test_step_is_that_of_the_rate_to_a_quarter_of_a_doubling(rate: float) -> None:
    assert rate_of(speed_of(rate)) <= rate * (1 + 1e-9)
    assert rate < rate_of(speed_of(rate) + 1) * (1 + 1e-9)


def said(iteration: int, *, speed: int = 0, slowest: int = 0) -> Speeds:
    """What a peer knows that heard this in one iteration, and nothing else."""
    speeds = Speeds()
    name = structs.replace(NAME, iteration=iteration)
    speeds.hear(structs.replace(here(1), name=name, speed=speed, slowest=slowest))
    return speeds


def test_nothing_known_is_what_is_assumed() -> None:
    speeds = Speeds()
    speeds.begin(1, 0)
    assert (speeds.own, speeds.slowest(1)) == (0, 0)
    assert speeds.slowest_link_bytes_per_s(2) == ASSUMED_LINK_BYTES_PER_S


def test_slow_link_counts_from_the_next_iteration_on_as_long_as_it_is_remembered() -> None:
    speeds = said(5, speed=SLOW)
    rates = [speeds.slowest_link_bytes_per_s(iteration) for iteration in range(5, 7 + REMEMBERED)]
    assert rates == [ASSUMED_LINK_BYTES_PER_S, *[rate_of(SLOW)] * REMEMBERED, ASSUMED_LINK_BYTES_PER_S]


@pytest.mark.parametrize("speeds", [said(5, speed=100), said(5, slowest=100)])
def test_fast_links_leave_the_time_of_a_round_as_it_is(speeds: Speeds) -> None:
    assert speeds.slowest_link_bytes_per_s(6) == ASSUMED_LINK_BYTES_PER_S


@pytest.mark.parametrize("speed", range(1, MAX_SPEED + 1, 9))
def test_one_that_says_it_is_slower_than_anybody_is_not_awaited_for_ever(speed: int) -> None:
    rate = said(5, speed=speed).slowest_link_bytes_per_s(6)
    assert ASSUMED_LINK_BYTES_PER_S * SLOWEST_AWAITED <= rate <= ASSUMED_LINK_BYTES_PER_S


def test_slowest_is_that_of_all_who_said_something_of_this_iteration() -> None:
    speeds = Speeds()
    speeds.begin(1, 90)
    speeds.hear(structs.replace(here(1), speed=95))
    assert speeds.slowest(1) == 90
    speeds.hear(structs.replace(here(2), speed=95, slowest=80))
    speeds.hear(structs.replace(here(3)))
    speeds.hear(Done(name=NAME, completed=ballot(1)))
    assert speeds.slowest(1) == 80
    speeds.hear(structs.replace(propose(1, 0, 1), slowest=70))
    assert speeds.slowest(1) == 70
    assert (speeds.slowest(2), speeds.own) == (0, 90)


def test_what_is_long_over_is_forgotten() -> None:
    speeds = said(5, speed=SLOW)
    speeds.begin(6 + REMEMBERED, 90)
    assert (speeds.slowest(5), speeds.own) == (0, 90)
