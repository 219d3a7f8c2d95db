from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.protocol.deadlines import (
    allowance_s,
    distilling_s,
    gather_deadline,
    handshake_s,
    heartbeat_s,
    lesson_allowance_s,
    patience_s,
    round_deadline,
    silence_s,
)
from marfl_peer.protocol.messages import MAX_HEARTBEAT_S, MAX_MEMBERS

seconds = st.floats(0, 1e6)


@pytest.mark.parametrize(("lag_s", "expected"), [(0.0, 3.0), (0.5, 4.0)])
def test_silence_is_three_heartbeats_and_more_where_the_own_loop_lags(lag_s: float, expected: float) -> None:
    assert silence_s(lag_s) == expected


@pytest.mark.parametrize(("company", "expected"), [(1, 3.0), (2, 3.0), (8, 3.0), (16, 3.0), (64, 12.0), (128, 24.0)])
def test_silence_in_large_groups_leaves_time_for_who_is_busy_with_all_others(company: int, expected: float) -> None:
    assert silence_s(0.0, company=company) == expected
    assert silence_s(0.5, company=company) == expected + 1.0


def test_heartbeats_come_three_times_in_every_silence_and_within_what_a_message_may_say() -> None:
    for company in range(1, MAX_MEMBERS + 1):
        assert 3 * heartbeat_s(company) <= silence_s(0.0, company=company)
    assert heartbeat_s(31) == 1
    assert heartbeat_s(MAX_MEMBERS) == MAX_HEARTBEAT_S == 8


@pytest.mark.parametrize(("company", "expected"), [(1, 5.0), (16, 5.0), (64, 20.0), (128, 40.0)])
def test_who_is_dialled_is_not_the_first_to_give_a_handshake_up(company: int, expected: float) -> None:
    assert handshake_s(0.0, company=company) == expected
    assert handshake_s(0.5, company=company) == expected + 1.0
    assert handshake_s(0.5, company=company) > silence_s(0.5, company=company), "the dialler's patience"


def test_silence_is_three_of_the_heartbeats_that_were_promised() -> None:
    assert silence_s(0.0, company=4, every_s=8) == 24.0
    assert silence_s(0.0, company=64, every_s=1) == 12.0


@pytest.mark.parametrize(
    ("updates", "expected"), [([], 10.0), ([1.0, 2.0], 10.0), ([5.0], 10.0), ([6.0, 20.0, 1000.0], 40.0)]
)
def test_patience_is_twice_the_median_update_but_ten_seconds_at_least(updates: list[float], expected: float) -> None:
    assert patience_s(updates) == expected


def test_allowance_is_an_overhead_and_four_times_what_a_member_sends() -> None:
    assert allowance_s(0, 1.0) == 2.0
    assert allowance_s(1_000_000, 8e6) == 3.0


@pytest.mark.parametrize(("members", "overhead"), [(1, 2.0), (2, 2.0), (8, 2.0), (16, 4.0), (64, 32.0)])
def test_allowance_follows_the_size_of_groups_beyond_small_ones(members: int, overhead: float) -> None:
    assert allowance_s(0, 1.0, members=members) == overhead
    assert allowance_s(1_000_000, 8e6, members=members) == overhead + 1.0


def test_round_of_distillation_has_time_for_its_models_and_its_steps() -> None:
    assert lesson_allowance_s(0, 1.0, 0.0) == 2.0
    assert lesson_allowance_s(1_000_000, 2e6, 0.5) == 2.0 + 1.0 + 2.0


def test_averaging_waits_for_who_is_held_up_in_all_rounds_of_distillation() -> None:
    assert distilling_s(0, 10.0, 2.0) == 0.0
    assert distilling_s(3, 10.0, 2.0) == round_deadline(0.0, 3, 10.0, 2.0)


@given(st.floats(0, 1e6), st.integers(1, 12), seconds, st.floats(2, 1e5))
def test_gathering_ends_before_its_round_does_and_after_the_round_before(
    start: float, round: int, patience: float, allowance: float
) -> None:
    gather = gather_deadline(start, round, patience, allowance)
    assert gather < round_deadline(start, round, patience, allowance)
    assert gather > round_deadline(start, round - 1, patience, allowance)
