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
            vector_bytes=VECTOR_BYTES,
            iterations=3,
            note=lambda what, done: noted.append((what, done)),
        )
    )
    assert [(run.peers, run.grid, run.iterations) for run in result.runs] == [(2, (2,), 3), (4, (2, 2), 3)]
    for run in result.runs:
        assert run.bytes_sent["tensor"] == pytest.approx(run.formulas.butterfly, rel=0.05)
        assert run.bytes_sent_per_peer_per_iteration == pytest.approx(sum(run.bytes_sent.values()))
        assert run.bytes_sent_first_iteration["control"] > run.bytes_sent_last_iteration["control"]
        assert run.error < 1e-6
        assert min(run.seconds_per_iteration, run.startup_seconds) > 0
    assert result.fit is not None
    assert noted[0] == ("2 peers: starting", 0.0)
    assert noted[-1] == ("4 peers: iteration 3 of 3", pytest.approx((1 + 2 / 3) / 2))
