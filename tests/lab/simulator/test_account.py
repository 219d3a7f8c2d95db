"""What is told of one run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.lab.simulator.account import Account, open_trace
from marfl_peer.lab.simulator.faults.plan import Crash, Fault, Hosts, Newcomers, Plan
from marfl_peer.lab.simulator.faults.triggers import At
from marfl_peer.lab.simulator.scenario import Scenario

PLAN = Plan(
    faults=(
        Fault(what=Crash(), who=Hosts((1,)), when=At(time_s=0.5)),
        Fault(what=Newcomers(count=1), when=At(time_s=0.6)),
    )
)
SCENARIO = Scenario(seed=3, peers=4, iterations=5, batch_s=0.1, plan=PLAN)


def test_account_tells_faults_iterations_costs_and_the_trace() -> None:
    trace = io.StringIO()
    account = Account(SCENARIO, trace=trace)
    report = account.run(SCENARIO)
    lines = list(account.lines())
    assert lines[0] == "seed 3: 4 peers, grid 3x2, butterfly, float32, 5 iterations, 2 faults planned"
    assert lines[1].split(maxsplit=2) == ["0.500", "s", "crash of peer 1 at 0.500 s (silently False, disk kept)"]
    assert lines[2].split(maxsplit=2) == ["0.600", "s", "newcomers at 0.600 s (count 1)"]
    assert lines[3].startswith("iteration 1: 4 finished, 1 skipped, groups 1 complete 0 partial, accuracy 0.")
    assert lines[-2] == "4 of 5 peers came to their end"
    assert lines[-1].endswith(report.digest)
    assert sum(line.startswith("iteration ") for line in lines) == 5
    assert trace.getvalue().count("\n") > 100
    assert "peer 1    killed" in trace.getvalue()


def test_account_says_that_updates_run_beside_exchanges() -> None:
    scenario = Scenario(seed=3, peers=2, iterations=2, overlap=True)
    account = Account(scenario)
    account.run(scenario)
    first = next(account.lines())
    assert first == "seed 3: 2 peers, grid 2, butterfly, float32, overlap, 2 iterations, 0 faults planned"


def test_summary_is_that_of_a_swarm_in_virtual_seconds() -> None:
    account = Account(SCENARIO)
    report = account.run(SCENARIO)
    summary = account.summary("marfl-peer simulate --seed 3", "plan.toml")
    assert (summary.task, summary.peers, summary.grid, summary.run_id) == ("blobs", 4, (3, 2), "simulated-3")
    assert [row.iteration for row in summary.iterations] == [1, 2, 3, 4, 5]
    assert (summary.peers_started, summary.peers_finished, summary.peers_lost) == (5, 4, 1)
    assert summary.wall_seconds == report.virtual_s
    assert summary.churn_plan == "plan.toml"
    assert (summary.command, summary.settings["group_size"]) == ("marfl-peer simulate --seed 3", 4)
    assert summary.vector_bytes is not None and summary.vector_bytes > 0
    assert summary.pss_mib_max is None


def test_trace_that_has_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        open_trace(tmp_path / "no" / "trace.txt")
