"""Real processes, few and small: that what is measured is what it says, not how long it takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from marfl_peer.config import Settings
from marfl_peer.lab.bench import aggregation
from marfl_peer.lab.bench.aggregation import measure_aggregation


def measured(peers: int, repeats: int) -> aggregation.Aggregation:
    return asyncio.run(
        measure_aggregation(
            Settings(group_size=2), peers=peers, vector_bytes=64_000, repeats=repeats, note=lambda *_: None
        )
    )


@pytest.mark.timeout(400)
def test_peers_average_beside_gloo_on_a_grid_with_an_empty_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "is_installed", lambda: False)
    result = measured(3, 2)
    assert (result.members, result.group_size, result.grid) == (3, 2, (2, 2))
    assert min(result.ratio_to_gloo, result.ratio_to_gloo_flat, result.call_seconds_median) > 0
    assert (result.hivemind_seconds_median, result.hivemind_repeats, result.ratio_to_hivemind) == (None, 0, None)
    assert result.error < 1e-6


HIVEMIND = """
import contextlib
class Addresses:
    def get_visible_maddrs(self): return ["here"]
def DHT(**options): return Addresses()
"""
AVERAGING = """
import contextlib
class DecentralizedAverager:
    def __init__(self, tensors, dht, **options): self.tensors, self.steps = tensors, 0
    @contextlib.contextmanager
    def get_tensors(self): yield self.tensors
    def step(self, timeout):
        self.steps += 1
        return {} if self.steps <= 1 else None
"""


@pytest.mark.timeout(400)
def test_hivemind_is_measured_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hivemind").mkdir()
    (tmp_path / "hivemind" / "__init__.py").write_text(HIVEMIND)
    (tmp_path / "hivemind" / "averaging.py").write_text(AVERAGING)
    monkeypatch.setattr(aggregation, "is_installed", lambda: True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    result = measured(2, 1)
    assert (result.hivemind_repeats, result.hivemind_failures) == (0, 1)  # the first step was the warm-up's
    assert result.hivemind_seconds_median is None
