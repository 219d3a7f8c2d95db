"""How much a student follows its teachers in an iteration, how many of them, and over how many mini-batches.

Numbers only. Moshpit knowledge distillation of MAR-FL (arXiv 2512.05234).
"""

from __future__ import annotations

MAX_BATCHES = 8
"""Mini-batches that a student learns on in a round, once each."""


def following(iteration: int, iterations: int) -> float:
    """lambda = max(0, 1 - (t - 1) / K) in iteration t >= 1 of K that distil: from 1, the teachers alone, down; 0 for
    t > K."""
    return max(0.0, 1.0 - (iteration - 1) / iterations) if iterations > 0 else 0.0


def teacher_count(candidates: int, share: float) -> int:
    """max(1, int(rho * candidates)) of the candidates are teachers; none where there is no candidate."""
    return max(1, int(share * candidates)) if candidates > 0 else 0


def batch_count(samples: int, batch_size: int) -> int:
    """Mini-batches of a round: at most MAX_BATCHES, and no more than there are without any sample twice."""
    return min(MAX_BATCHES, max(1, samples // batch_size)) if samples > 0 else 0
