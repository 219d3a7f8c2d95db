"""Every kind of trouble is got over: the survivors finish every iteration, and hold one model in the end."""

from __future__ import annotations

import pytest
from swarms import last_iteration, models, played, remote_faults

from marfl_peer.lab.simulator.faults.directed import DIRECTED

GONE = {"dead-leader": 1, "dead-owner": 1, "half-dead-owner": 1, "silent-member": 1, "bootstrap-gone": 2}
LEFT = {"mass-departure": 6, "mass-crash": 6}
FOUND_OUT = {
    "hostile-nan": "not_finite",
    "hostile-inf": "not_finite",
    "hostile-garbage": "bad_frame",
    "hostile-oversized": "oversized_frame",
    "hostile-malformed": "bad_message",
}


@pytest.mark.parametrize("name", sorted(DIRECTED))
def test_survivors_finish(name: str) -> None:
    scenario = DIRECTED[name]
    with played(scenario) as outcome:
        assert outcome.is_over
        assert sum(outcome.happened.values()) == len(scenario.plan.faults), "the fault came"
        assert outcome.failures() == []
        gone = GONE.get(name, 0) + LEFT.get(name, 0)
        assert len(outcome.finished()) == len(outcome.players) - gone
        for index in outcome.finished():
            assert last_iteration(outcome.players[index]) == scenario.iterations
        assert len(models(outcome, scenario.iterations)) == 1
        if name in FOUND_OUT:
            assert FOUND_OUT[name] in remote_faults(outcome)
