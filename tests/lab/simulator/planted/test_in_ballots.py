from __future__ import annotations

import pytest
from broken import LIAR, found, scenario

from marfl_peer.lab.simulator.planted.in_ballots import BALLOTS


@pytest.mark.parametrize(
    ("bug", "faults"), [("stale ballot accepted", (LIAR,)), ("nobody is awaited", ()), ("said too often", ())]
)
def test_planted_bug_shows_in_what_it_breaks(bug: str, faults: tuple[object, ...]) -> None:
    planted = next(one for one in BALLOTS if one.name == bug)
    assert found(bug, scenario(*faults)) & set(planted.breaks)  # type: ignore[arg-type]
