from __future__ import annotations

import pytest
from broken import LIAR, found, scenario

from marfl_peer.lab.simulator.planted.in_numbers import NUMBERS


@pytest.mark.parametrize(
    ("bug", "faults"),
    [("partial sum counted twice", (LIAR,)), ("wrong cell's vector", (LIAR,)), ("result taken without seals", (LIAR,))],
)
def test_planted_bug_shows_in_what_it_breaks(bug: str, faults: tuple[object, ...]) -> None:
    planted = next(one for one in NUMBERS if one.name == bug)
    assert found(bug, scenario(*faults)) & set(planted.breaks)  # type: ignore[arg-type]
