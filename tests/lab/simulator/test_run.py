"""One run from scenario to report, and that it is the same run wherever it runs."""

from __future__ import annotations

import os
import subprocess
import sys

from marfl_peer.lab.simulator.faults.plan import Fault, Hosts, Newcomers, Pause, Plan, Weather
from marfl_peer.lab.simulator.faults.triggers import At
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario

_CODE = """
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario
print(run(Scenario(seed=11, peers=6, iterations=2)).digest)
"""


def test_run_reports_what_the_swarm_did() -> None:
    report = run(Scenario(seed=5, peers=3, iterations=2))
    assert (report.violations, report.finished) == ([], 3)
    assert report.virtual_s > 0.8
    assert report.cpu_s > 0


def test_run_that_comes_to_no_end_breaks_liveness() -> None:
    report = run(Scenario(seed=5, peers=3, iterations=50, limit_s=3.0))
    assert [violation.invariant for violation in report.violations] == ["I5"] * 3  # each peer's own


def test_same_seed_gives_the_same_trace_in_every_process() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        result = subprocess.run(
            [sys.executable, "-c", _CODE], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(result.stdout.strip())
    assert len(digests) == 1
    assert run(Scenario(seed=11, peers=6, iterations=2)).digest in digests
    assert run(Scenario(seed=12, peers=6, iterations=2)).digest not in digests


def test_run_tells_whom_the_faults_befell() -> None:
    plan = Plan(
        faults=(
            Fault(what=Pause(for_s=0.1), who=Hosts((2, 1)), when=At(time_s=0.5)),
            Fault(what=Pause(for_s=0.1), who=Hosts((2,)), when=At(time_s=0.8)),
            Fault(what=Weather(for_s=0.1, latency_s=0.01), when=At(time_s=0.5)),
            Fault(what=Newcomers(count=1), when=At(time_s=0.5)),
        )
    )
    assert run(Scenario(seed=5, peers=3, iterations=3, plan=plan)).befell == {1: 1, 2: 2}
