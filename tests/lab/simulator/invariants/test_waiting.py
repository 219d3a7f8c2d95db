from __future__ import annotations

import pytest
from broken import found, scenario

from marfl_peer.lab.simulator.invariants.waiting import Isolation


@pytest.mark.parametrize("bug", ["deadline does not grow", "waits for too long"])
def test_waiting_finds_deadlines_that_are_not_those_of_the_round(bug: str) -> None:
    assert found(bug, scenario()) == {Isolation.invariant}
