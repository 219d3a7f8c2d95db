from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from marfl_peer.learning.distillation.divergence import (
    distance,
    distillation_loss,
    divergence,
    mean_logits,
    nearest,
)

HALVES = torch.tensor([[0.0, 0.0]])
"""Probabilities 1/2 and 1/2."""
QUARTERS = torch.tensor([[math.log(3.0), 0.0]])
"""Probabilities 3/4 and 1/4."""


def test_divergence_is_that_of_the_student_from_the_teacher() -> None:
    """KL(P || Q) = sum P log(P / Q), by hand, both ways round: P is the teacher's."""
    given_quarters = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    given_halves = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert float(divergence(QUARTERS, HALVES, temperature=1.0)) == pytest.approx(given_quarters)
    assert float(divergence(HALVES, QUARTERS, temperature=1.0)) == pytest.approx(given_halves)
    assert given_quarters != pytest.approx(given_halves)


def test_divergence_is_the_mean_over_the_batch() -> None:
    both = divergence(torch.cat([QUARTERS, HALVES]), torch.cat([HALVES, HALVES]), temperature=1.0)
    assert float(both) == pytest.approx(float(divergence(QUARTERS, HALVES, temperature=1.0)) / 2)


def test_temperature_softens_both() -> None:
    hot = torch.tensor([[3.0 * math.log(3.0), 0.0]])
    assert float(divergence(hot, HALVES, temperature=3.0)) == pytest.approx(
        float(divergence(QUARTERS, HALVES, temperature=1.0)), rel=1e-5
    )


def test_gradient_is_the_difference_of_the_probabilities_over_the_temperature() -> None:
    student = HALVES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(divergence(QUARTERS, student, temperature=1.0), student)
    assert gradient[0].tolist() == pytest.approx([-0.25, 0.25])
    soft = QUARTERS * 2
    (gradient,) = torch.autograd.grad(divergence(soft, student, temperature=2.0), student)
    assert gradient[0].tolist() == pytest.approx([-0.125, 0.125])


def logits() -> st.SearchStrategy[Tensor]:
    rows = st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=2, max_size=2)
    return rows.map(torch.tensor)


@given(logits(), logits(), st.floats(0.5, 10.0))
def test_divergence_is_never_negative_and_nothing_from_itself(one: Tensor, other: Tensor, temperature: float) -> None:
    assert float(divergence(one, other, temperature=temperature)) >= -1e-5
    assert float(divergence(one, one, temperature=temperature)) == pytest.approx(0.0, abs=1e-6)


def test_distance_is_summed_over_the_batches() -> None:
    away = distance([QUARTERS, QUARTERS, HALVES], [HALVES] * 3, temperature=1.0)
    assert away == pytest.approx(2 * float(divergence(QUARTERS, HALVES, temperature=1.0)))


def test_nearest_come_first_and_of_equals_the_first() -> None:
    distances = {"far": 3.0, "near": 1.0, "middle": 2.0, "also near": 1.0}
    assert nearest(distances, 3) == ["near", "also near", "middle"]
    assert nearest(distances, 9) == ["near", "also near", "middle", "far"]


def test_teachers_logits_are_averaged_before_they_are_softened() -> None:
    first, second = torch.tensor([[0.0, 4.0]]), torch.tensor([[2.0, 0.0]])
    (mean, same) = mean_logits([[first, first], [second, first]])
    assert mean.tolist() == [[1.0, 2.0]]
    assert same.tolist() == first.tolist()


def test_loss_weighs_teachers_against_the_task() -> None:
    """lambda tau^2 KL + (1 - lambda) CE, by hand."""
    own = torch.tensor(2.0)
    soft = QUARTERS * 3
    loss = distillation_loss(HALVES, soft, own, follow=0.25, temperature=3.0)
    by_hand = 0.25 * 9.0 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)) + 0.75 * 2.0
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)
    assert float(distillation_loss(HALVES, soft, own, follow=0.0, temperature=3.0)) == 2.0
