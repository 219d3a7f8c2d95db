"""Medians over iterations, and theory against `lab.mixing`."""

from __future__ import annotations

import numpy as np
import pytest

from marfl_peer.lab.mixing import average, mix
from marfl_peer.observe.report.residuals import expected_residuals, median_residuals


def test_median_is_of_the_iterations_that_were_traced_to_their_end(iteration) -> None:
    traces = [(0.2, 0.0), (0.4, 1.0), (0.3, 0.5), (0.9,), None]
    rows = [iteration(number, mixing_residual=trace) for number, trace in enumerate(traces, 1)]
    assert median_residuals(rows) == [0.3, 0.5]
    assert median_residuals([iteration(1)]) == []


def test_theory_of_a_grid() -> None:
    assert expected_residuals((4, 4)) == [3 / 15, 0.0]
    assert expected_residuals((3, 3, 3)) == [8 / 26, 2 / 26, 0.0]
    assert expected_residuals(()) == []
    assert expected_residuals((1,)) == []


def test_theory_is_what_independent_values_come_to() -> None:
    rng = np.random.default_rng(1)
    mixed = average([mix("grid", 64, 4, rng) for _ in range(300)])
    assert mixed.residuals == pytest.approx(expected_residuals((4, 4, 4)), rel=0.05, abs=1e-12)
