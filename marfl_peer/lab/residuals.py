"""How far apart what peers hold still is after each round of an iteration, from the sketches that they told.

The residual of `mixing`, measured: the sample-weighted mean squared distance from the weighted mean of all that was
brought, relative to what it was before round 1. Sketches are linear and keep distances to about sqrt(2 / size), the
same ones in every round: the estimate is of the mixing, not of the noise. Knows no swarm and no grid.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from marfl_peer.facts import VectorSketched

Values = npt.NDArray[np.float64]


class Residuals:
    """Those of one iteration. `add` what each peer told, in the order in which it did; peers in any order."""

    def __init__(self) -> None:
        self._weights: dict[int, int] = {}
        self._held: dict[int, dict[int, Values]] = {}

    def add(self, index: int, fact: VectorSketched) -> None:
        """Takes one sketch of the peer with that index. Before round 1 its weight is that of what it brings."""
        if not fact.round:  # also where the rounds began again: what was held in the first ones counts nowhere
            self._weights[index] = fact.weight
            self._held[index] = {}
        self._held.setdefault(index, {})[fact.round] = np.array(fact.sketch)

    def after_rounds(self) -> tuple[float, ...] | None:
        """After round 1, 2, ..., of those that are through with it and brought something; None where nobody is, nobody
        traced, or all brought the same."""
        began = {index: held for index, held in sorted(self._held.items()) if 0 in held and self._weights[index] > 0}
        if not began:
            return None
        weights = np.array([self._weights[index] for index in began], dtype=np.float64)
        mean = np.average(np.stack([held[0] for held in began.values()]), axis=0, weights=weights)
        before = self._distance(began, 0, mean)
        rounds = max(max(held) for held in began.values())
        after = [self._distance(began, round, mean) for round in range(1, rounds + 1)]
        if not before or not after:
            return None
        return tuple(distance / before for distance in after)

    def _distance(self, began: dict[int, dict[int, Values]], round: int, mean: Values) -> float:
        """Mean squared, weighted with what was brought before round 1, of the peers that are through with `round`."""
        there = [(self._weights[index], held[round]) for index, held in began.items() if round in held]
        weights = [weight for weight, _ in there]
        return float(np.average([np.sum((sketch - mean) ** 2) for _, sketch in there], weights=weights))
