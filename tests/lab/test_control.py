from __future__ import annotations

import pytest

from marfl_peer.lab.control import count_messages, expected_messages


@pytest.mark.parametrize(("peers", "group_size"), [(1, 4), (2, 2), (4, 4), (16, 4), (27, 3), (64, 4), (125, 5)])
def test_messages_on_a_grid_are_those_of_its_lines(peers: int, group_size: int) -> None:
    assert count_messages("grid", peers, group_size) == pytest.approx(expected_messages("grid", peers, group_size))


def test_messages_on_a_grid_grow_with_its_rounds_only() -> None:
    assert [count_messages("grid", peers, 4) for peers in (4, 16, 64)] == [10.5, 21.0, 31.5]


@pytest.mark.parametrize(("peers", "group_size"), [(64, 4), (128, 8), (256, 4)])
def test_messages_by_hash_are_about_what_is_expected(peers: int, group_size: int) -> None:
    counted = count_messages("hashed", peers, group_size)
    assert counted == pytest.approx(expected_messages("hashed", peers, group_size), rel=0.12)
    assert counted > count_messages("grid", peers, group_size)


def test_lone_peer_says_nothing() -> None:
    assert count_messages("hashed", 1, 4) == expected_messages("hashed", 1, 4) == 0
