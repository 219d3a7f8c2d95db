from __future__ import annotations

import pytest
from broken import LOST, found, scenario

from marfl_peer.lab.simulator.planted.in_lives import LIVES


@pytest.mark.parametrize("bug", ["number counted twice", "event an iteration early", "last event dropped"])
def test_planted_bug_shows_in_what_it_breaks(bug: str) -> None:
    planted = next(one for one in LIVES if one.name == bug)
    assert found(bug, scenario(LOST, peers=9, iterations=3)) & set(planted.breaks)
