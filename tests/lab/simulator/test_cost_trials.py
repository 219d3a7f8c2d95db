"""The runs behind the table: which they are, and what a short one of them shows."""

from __future__ import annotations

import pytest

from marfl_peer.lab.simulator.cost_trials import CASES, PEERS, QUIET, WITNESSES, on_task, trials
from marfl_peer.lab.simulator.faults.directed import DIRECTED
from marfl_peer.lab.simulator.faults.plan import Hosts


def test_cases_are_all_directed_ones_and_the_papers() -> None:
    assert {*CASES} == {*DIRECTED, "absent-every-iteration", "killed-every-iteration"}
    assert all(case(7).seed == 7 for case in CASES.values())


@pytest.mark.parametrize("name", ["absent-every-iteration", "killed-every-iteration"])
def test_repeated_case_strikes_a_fifth_in_every_iteration(name: str) -> None:
    scenario = CASES[name](3)
    faults = scenario.plan.faults
    assert [fault.when.iteration for fault in faults] == [*range(2, scenario.iterations - QUIET + 1)]  # type: ignore[union-attr]
    for fault in faults:
        assert isinstance(fault.who, Hosts)
        assert len({*fault.who.indices}) == PEERS // 5
        assert max(fault.who.indices) < PEERS - WITNESSES
    assert len({fault.who for fault in faults}) > len(faults) / 2, "not always the same"
    assert CASES[name](3) == scenario
    assert CASES[name](4).plan != scenario.plan


def test_on_task_cuts_the_data_as_with_newcomers() -> None:
    crowd = on_task(CASES["flash-crowd"](1), task="digits", iterations=30)
    assert (crowd.task, crowd.iterations, crowd.tests_at_end) == ("digits", 30, True)
    assert crowd.shards == 2 * crowd.peers + crowd.plan.newcomers
    assert on_task(CASES["split-swarm"](1), task="blobs", iterations=3).iterations == 25


def test_trials_tell_what_a_crash_and_a_silence_cost() -> None:
    loud, silent = trials(["dead-owner", "silent-member"], [1], task="blobs", iterations=6)
    assert (loud.case, loud.seed, loud.strikes, len(loud.victims), loud.broken) == ("dead-owner", 1, 1, 1, ())
    assert silent.broken == ()
    for trial in (loud, silent):
        assert trial.peace.accuracy is not None
        assert trial.cost.accuracy is not None
        assert trial.cost.missed_by_victims == 5, "it died in the second iteration"
        assert trial.cost.missed_by_others == 0
        assert 0.4 < trial.cost.weight_lost < 0.7, "an eighth of five averages"
        assert trial.cost.disagreement == 0
    assert loud.cost.longest_wait.seconds < 1.0
    assert silent.cost.longest_wait.seconds == pytest.approx(3.1, abs=0.5), "three heartbeats"
    assert silent.cost.seconds == pytest.approx(3.1, abs=0.5)
