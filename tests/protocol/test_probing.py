from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.ids import PeerId
from marfl_peer.protocol.probing import REFRESH_S, next_in_turn, offset_s, refresh_s


@given(st.sets(st.integers(), min_size=1), st.one_of(st.none(), st.integers()))
def test_everybody_has_a_turn_before_anybody_has_another(candidates: set[int], last: int | None) -> None:
    turns = []
    for _ in candidates:
        last = next_in_turn(sorted(candidates), last)
        turns.append(last)
    assert sorted(turns) == sorted(candidates)


def test_turn_goes_on_behind_one_that_is_no_candidate_any_more() -> None:
    assert next_in_turn([1, 2, 5], 3) == 5
    assert next_in_turn([1, 2, 5], 5) == 1
    assert next_in_turn([1, 2, 5], None) == 1
    assert next_in_turn([], 3) is None


def test_peers_begin_at_different_moments_of_the_first_period() -> None:
    offsets = [offset_s(PeerId(digit * 40), 10.0) for digit in "018f"]
    assert offsets == sorted(offsets)
    assert offsets[0] == 0.0
    assert offsets[2] == pytest.approx(5.33, abs=0.01)
    assert offsets[3] <= 10.0


@pytest.mark.parametrize("peers", [0, 1, 3, 8, 100])
def test_swarm_reads_all_buckets_in_the_same_time_whatever_its_size(peers: int) -> None:
    period = refresh_s(peers, 8)
    assert period <= REFRESH_S
    assert 8 * period / max(peers, 1) <= REFRESH_S
