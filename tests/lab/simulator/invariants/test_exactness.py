from __future__ import annotations

import pytest
from broken import LOST, found, scenario


@pytest.mark.parametrize("bug", ["nobody is awaited", "momentum not taken"])
def test_exactness_in_peace_is_of_everybody(bug: str) -> None:
    assert "I6" in found(bug, scenario())


@pytest.mark.parametrize("bug", ["sum in order of arrival", "take-over dropped"])
def test_exactness_with_one_lost_counts_all_others_in_full_and_alike(bug: str) -> None:
    assert "I6" in found(bug, scenario(LOST, peers=9, iterations=3))


def test_exactness_of_a_whole_swarm_holds() -> None:
    assert found("waits for too long", scenario(LOST, peers=9, iterations=3)) == {"I4"}
