"""How far a student's outputs are from its teachers', and the loss that brings them nearer.

Logits are float [b, classes], or more dimensions of which the last one is classes. The same way round for ranking and
loss: KL(teacher || student), as in the reference code of MAR-FL (arXiv 2512.05234); the temperature softens both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

K = TypeVar("K")


def divergence(teacher: Tensor, student: Tensor, *, temperature: float) -> Tensor:
    """Mean over the batch of KL(teacher || student), a scalar in nats to differentiate by `student`'s logits."""
    soft = functional.log_softmax(teacher / temperature, dim=-1)
    return functional.kl_div(
        functional.log_softmax(student / temperature, dim=-1), soft, reduction="batchmean", log_target=True
    )


def distance(teacher: Sequence[Tensor], student: Sequence[Tensor], *, temperature: float) -> float:
    """The divergence summed over the batches: what teachers are ranked by."""
    pairs = zip(teacher, student, strict=True)
    return float(sum(float(divergence(theirs, own, temperature=temperature)) for theirs, own in pairs))


def nearest(distances: Mapping[K, float], count: int) -> list[K]:
    """The `count` candidates of the smallest distance, the nearest first; of equals those that come first."""
    return sorted(distances, key=lambda who: distances[who])[:count]


def mean_logits(teachers: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """For every batch the mean of the logits of the teachers, of whom there is at least one."""
    return [torch.stack(logits).mean(dim=0) for logits in zip(*teachers, strict=True)]


def distillation_loss(
    student: Tensor, teachers: Tensor, own_loss: Tensor, *, follow: float, temperature: float
) -> Tensor:
    """lambda tau^2 KL(teachers || student) + (1 - lambda) CE: `follow` is lambda, `own_loss` the loss of the task."""
    nearer = divergence(teachers, student, temperature=temperature)
    return follow * temperature**2 * nearer + (1.0 - follow) * own_loss
