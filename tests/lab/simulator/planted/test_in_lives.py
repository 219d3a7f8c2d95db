from __future__ import annotations

from dataclasses import replace

import pytest
from broken import LOST, found, scenario

from marfl_peer.lab.simulator.planted.in_lives import LIVES
from marfl_peer.lab.simulator.run import run

SWARM = replace(scenario(LOST, peers=9, iterations=3), limit_s=30.0)
"""It is through in less, where no bug holds it up."""


def test_swarm_without_a_bug_is_through_in_time() -> None:
    assert run(SWARM).violations == []


@pytest.mark.parametrize("bug", ["number counted twice", "event an iteration early", "last event dropped"])
def test_planted_bug_shows_in_what_it_breaks(bug: str) -> None:
    planted = next(one for one in LIVES if one.name == bug)
    assert found(bug, SWARM) & set(planted.breaks)
