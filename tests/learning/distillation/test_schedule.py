from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.learning.distillation.schedule import MAX_BATCHES, batch_count, following, teacher_count


@pytest.mark.parametrize(
    ("iteration", "iterations", "expected"),
    [(1, 1, 1.0), (2, 1, 0.0), (1, 6, 1.0), (4, 6, 0.5), (6, 6, 1 / 6), (7, 6, 0.0), (100, 6, 0.0), (1, 0, 0.0)],
)
def test_student_follows_its_teachers_less_and_less(iteration: int, iterations: int, expected: float) -> None:
    assert following(iteration, iterations) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("candidates", "share", "expected"),
    [(0, 0.4, 0), (1, 0.4, 1), (2, 0.4, 1), (3, 0.4, 1), (4, 0.4, 1), (5, 0.4, 2), (3, 1.0, 3), (3, 0.001, 1)],
)
def test_teachers_are_the_share_rounded_down_but_one_at_least(candidates: int, share: float, expected: int) -> None:
    assert teacher_count(candidates, share) == expected


@given(st.integers(0, 64), st.floats(0.001, 1.0))
def test_there_are_never_more_teachers_than_candidates(candidates: int, share: float) -> None:
    assert min(candidates, 1) <= teacher_count(candidates, share) <= candidates


@pytest.mark.parametrize(
    ("samples", "batch_size", "expected"), [(0, 0, 0), (5, 5, 1), (9, 5, 1), (10, 5, 2), (1000, 5, MAX_BATCHES)]
)
def test_mini_batches_of_a_round_hold_no_sample_twice(samples: int, batch_size: int, expected: int) -> None:
    assert batch_count(samples, batch_size) == expected
