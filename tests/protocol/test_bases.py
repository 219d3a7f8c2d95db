from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.protocol.bases import MOST, NOTICE, Base, FullValues

A, B = "a" * 64, "b" * 64


def test_group_with_one_base_encodes_against_it() -> None:
    base = Base(digest=A)
    assert base.agreed([A, A, A], iteration=5) == A
    assert base.full.from_now_on(5) == ()


@pytest.mark.parametrize("digests", [[A, B], [A, A, ""], [B, A, A]])
def test_group_with_different_bases_sends_full_values_now_and_so_do_all_later(digests: list[str]) -> None:
    base = Base(digest=A)
    assert base.agreed(digests, iteration=5) == ""
    assert base.full.from_now_on(5) == (5 + NOTICE,)


def test_group_without_a_base_sends_full_values_and_nobody_else_has_to() -> None:
    base = Base()
    assert base.agreed(["", ""], iteration=5) == ""
    assert base.full.from_now_on(5) == ()


def test_who_is_alone_encodes_nothing() -> None:
    assert Base(digest=A).agreed([A], iteration=5) == ""


def test_iteration_of_full_values_is_one_for_all_who_heard_of_it() -> None:
    base = Base(digest=A)
    base.full.hear([7], now=5)
    assert [base.agreed([A, A], iteration=iteration) for iteration in (6, 7, 8)] == [A, "", A]


def test_proposal_against_another_base_is_not_for_this_peer() -> None:
    assert Base(digest=A).is_mine(A)
    assert Base(digest=A).is_mine("")
    assert not Base(digest=A).is_mine(B)
    assert not Base().is_mine(A)


def test_iterations_that_are_over_are_forgotten_and_lies_about_far_ones_are_not_believed() -> None:
    full = FullValues()
    full.hear([3, 5, 6, 2**40], now=5)
    assert [iteration in full for iteration in (3, 5, 6, 2**40)] == [False, True, True, False]
    full.hear([], now=6)
    assert full.from_now_on(0) == (6,)


@given(st.lists(st.tuples(st.integers(0, 2**32), st.lists(st.integers(0, 2**32), max_size=4)), max_size=20))
def test_never_more_are_named_than_a_message_holds(heard: list[tuple[int, list[int]]]) -> None:
    full = FullValues()
    for now, iterations in heard:
        full.hear(iterations, now=now)
        full.due_after(now)
        assert now + NOTICE in full
        assert len(full.from_now_on(now)) <= MOST
