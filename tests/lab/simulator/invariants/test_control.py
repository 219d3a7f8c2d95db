from __future__ import annotations

from broken import NEWCOMER, scenario, violations


def test_control_counts_small_messages() -> None:
    found = violations("said too often", scenario())
    assert {one.invariant for one in found} == {"I7"}
    assert "small messages" in found[0].message


def test_control_counts_look_ups_while_the_view_is_unchanged() -> None:
    found = violations("look-up in every iteration", scenario(NEWCOMER, iterations=8))
    assert {one.invariant for one in found} == {"I7"}
    assert "look-ups" in found[0].message
