from __future__ import annotations

import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import MarflError
from marfl_peer.lab.bench import simulated
from marfl_peer.lab.bench.simulated import simulate_scaling

VECTOR_BYTES = 64_000


@pytest.mark.parametrize(("codec", "share"), [("float32", 1.0), ("bfloat16", 0.5), ("int8", 0.254), ("int4", 0.129)])
def test_simulated_peers_send_what_the_formula_says(codec: str, share: float) -> None:
    noted: list[float] = []
    run = simulate_scaling(
        Settings(group_size=2, codec=codec),
        peers=4,
        vector_bytes=VECTOR_BYTES,
        iterations=3,
        note=lambda _, done: noted.append(done),
    )
    assert (run.peers, run.is_simulated, run.grid, run.iterations, run.groups_partial) == (4, True, (2, 2), 3, 0)
    assert 0.99 * share * run.formulas.butterfly <= run.bytes_sent["tensor"] < 1.1 * share * run.formulas.butterfly
    assert run.bytes_sent_per_peer_per_iteration == pytest.approx(sum(run.bytes_sent.values()))
    assert run.bytes_sent_first_iteration["control"] > run.bytes_sent_last_iteration["control"]
    assert run.seconds_per_iteration is None
    assert len(noted) == 12
    assert noted[-1] == 1.0


def test_simulation_that_does_not_come_to_its_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "LIMIT_S", 0.01)
    with pytest.raises(MarflError, match="only 0 of 6 simulated iterations"):
        simulate_scaling(Settings(group_size=2), peers=2, vector_bytes=VECTOR_BYTES, iterations=3, note=lambda *_: None)
