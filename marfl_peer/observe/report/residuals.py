"""How values came together in a run, round by round, and how they would on a full grid. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from statistics import median

from marfl_peer.observe.report.runs import Iteration


def median_residuals(rows: Sequence[Iteration]) -> list[float]:
    """After each round, of the iterations that went through as many rounds as most did; none where nobody traced."""
    traced = [row.mixing_residual for row in rows if row.mixing_residual]
    if not traced:
        return []
    lengths = [len(residuals) for residuals in traced]
    rounds = max(set(lengths), key=lambda length: (lengths.count(length), length))
    return [median(column) for column in zip(*(one for one in traced if len(one) == rounds), strict=True)]


def expected_residuals(grid: Sequence[int]) -> list[float]:
    """What independent updates of equal weight leave after each round on a full grid of this shape: (r - 1) / (N - 1),
    r being the sets of cells that then hold different values. After the last round 0."""
    cells = list(accumulate(grid, lambda product, length: product * length, initial=1))
    total = cells[-1]
    return [(total / mixed - 1) / (total - 1) for mixed in cells[1:]] if total > 1 else []
