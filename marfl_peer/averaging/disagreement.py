"""How far apart the models of several peers are, from their sketches alone. Plain Python: whoever only watches a swarm
needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence


def disagreement(sketches: Sequence[Sequence[float]]) -> float:
    """The largest ||p_i - mean|| / ||mean|| over the sketches p_i of peers, made with one seed; 0.0 for none.

    An estimate of the same figure over the models themselves.
    """
    if not sketches:
        return 0.0
    mean = [math.fsum(column) / len(sketches) for column in zip(*sketches, strict=True)]
    furthest = max(math.dist(point, mean) for point in sketches)
    norm = math.hypot(*mean)
    if norm == 0.0:
        return 0.0 if furthest == 0.0 else math.inf
    return furthest / norm
