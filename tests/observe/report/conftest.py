"""Runs for the tests of the report, with defaults for what a test does not care about."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from marfl_peer.observe.report.runs import Iteration, Run


def made_iteration(number: int, accuracy: float | None = 0.5, **given: object) -> Iteration:
    values = {
        "test_accuracy_mean": accuracy,
        "bytes_sent": {"tensor": 900, "control": 100},
        "groups_complete": 2,
        "peers_alive": 4,
        **given,
    }
    return Iteration(iteration=number, **values)  # type: ignore[arg-type]


def made_run(rows: Sequence[Iteration] | None = None, **given: object) -> Run:
    values = {
        "run_id": "r",
        "task": "digits",
        "peers": 4,
        "group_size": 2,
        "grid": (2, 2),
        "exchange": "butterfly",
        "codec": "float32",
        "settings": {"aggregation": "mar", "seed": 0},
        "iterations": tuple(rows if rows is not None else (made_iteration(1, 0.4), made_iteration(2, 0.8))),
        "bytes_sent_per_peer_per_iteration": {"tensor": 225.0, "control": 25.0},
        "peers_started": 4,
        "peers_finished": 4,
        "peers_lost": 0,
        "wall_seconds": 3.0,
        "name": "place",
        **given,
    }
    return Run(**values)  # type: ignore[arg-type]


@pytest.fixture
def iteration() -> Callable[..., Iteration]:
    """An iteration of four peers that sent 1 kB in all."""
    return made_iteration


@pytest.fixture
def run() -> Callable[..., Run]:
    """A run of four peers, of two such iterations."""
    return made_run
