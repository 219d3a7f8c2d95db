"""Real processes, few and small: that what is counted is what it says, not how long it takes."""

from __future__ import annotations

import asyncio

import pytest

from marfl_peer.config import Settings
from marfl_peer.lab.bench.scaling import measure_scaling

VECTOR_BYTES = 64_000


@pytest.mark.timeout(400)
def test_runs_of_several_sizes_are_counted_from_their_first_iteration_on() -> None:
    noted: list[tuple[str, float]] = []
    result = asyncio.run(
        measure_scaling(
            Settings(group_size=2),
            peers=[2, 4],
            simulated=[4],
            vector_bytes=VECTOR_BYTES,
            iterations=3,
            note=lambda what, done: noted.append((what, done)),
        )
    )
    assert [(run.peers, run.grid, run.iterations) for run in result.runs] == [
        (2, (2,), 3),
        (4, (2, 2), 3),
        (4, (2, 2), 3),
    ]
    assert [run.is_simulated for run in result.runs] == [False, False, True]
    for run in result.runs[:2]:
        assert run.bytes_sent["tensor"] == pytest.approx(run.formulas.butterfly, rel=0.05)
        assert run.bytes_sent_per_peer_per_iteration == pytest.approx(sum(run.bytes_sent.values()))
        assert run.bytes_sent_first_iteration["control"] > run.bytes_sent_last_iteration["control"]
        assert run.error is not None
        assert run.error < 1e-6
        assert run.seconds_per_iteration is not None and run.startup_seconds is not None
        assert min(run.seconds_per_iteration, run.startup_seconds) > 0
    measured, simulated = result.runs[1:]
    assert simulated.bytes_sent["tensor"] == measured.bytes_sent["tensor"]
    assert result.fit is not None
    assert noted[0] == ("2 peers: starting", 0.0)
    assert ("4 peers: iteration 3 of 3", pytest.approx((1 + 2 / 3) / 3)) in noted
    assert noted[-1] == ("4 peers: simulated iteration 3 of 3", pytest.approx(1.0))
