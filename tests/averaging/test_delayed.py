"""The delayed update on flat vectors: what was trained is moved by what the exchange changed, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from marfl_peer.averaging.delayed import correct_
from marfl_peer.averaging.vector import VectorSchema
from marfl_peer.learning.optimizer import MomentumSGD


class Normed(nn.Module):
    """Two weights, two of a norm, and its statistics: means, variances and a count."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.norm = nn.BatchNorm1d(1)


SCHEMA = VectorSchema.of(Normed(), momentum=True)
THETA = SCHEMA.theta_length
MEAN, VARIANCE = 2 * THETA, 2 * THETA + 1


def vector(*, buffers: tuple[float, float] = (0.0, 1.0), fill: float = 0.0) -> Tensor:
    values = torch.full((SCHEMA.length,), fill)
    values[MEAN], values[VARIANCE] = buffers
    return values


def test_parameters_momentum_and_buffers_move_by_what_the_exchange_changed() -> None:
    generator = torch.Generator().manual_seed(1)
    trained, snapshot, agreed = (torch.randn(SCHEMA.length, generator=generator) for _ in range(3))
    for values in (trained, snapshot, agreed):
        values[VARIANCE] = 4.0
    expected = trained + (agreed - snapshot)
    correct_(SCHEMA, trained, snapshot=snapshot, agreed=agreed)
    assert torch.equal(trained, expected)


def test_who_brought_what_was_agreed_keeps_its_bits() -> None:
    trained = torch.randn(SCHEMA.length, generator=torch.Generator().manual_seed(2))
    before, agreed = trained.clone(), torch.full((SCHEMA.length,), 0.1)
    correct_(SCHEMA, trained, snapshot=agreed.clone(), agreed=agreed)
    assert torch.equal(trained, before)


@pytest.mark.parametrize(
    ("trained", "agreed", "result"),
    [
        (0.5, 0.25, 0.25),  # 0.5 + 0.25 - 3 would be below 0
        (3.0, 0.25, 0.25),  # exactly 0.25: nothing to mend
        (4.0, 0.25, 1.25),
        (-0.5, 0.25, -3.25),  # it was negative before: no variance
        (0.5, -0.25, -2.75),
    ],
)
def test_variance_does_not_become_negative(trained: float, agreed: float, result: float) -> None:
    values = vector(buffers=(1.0, trained))
    correct_(SCHEMA, values, snapshot=vector(buffers=(1.0, 3.0)), agreed=vector(buffers=(1.0, agreed)))
    assert values[VARIANCE] == result


def test_parameter_may_become_negative() -> None:
    trained = vector(fill=0.5)
    correct_(SCHEMA, trained, snapshot=vector(fill=3.0), agreed=vector(fill=0.25))
    assert trained[: 2 * THETA].tolist() == [-2.25] * (2 * THETA)


def test_agreed_state_is_only_read() -> None:
    agreed = vector(fill=0.25)
    correct_(SCHEMA, vector(fill=1.0), snapshot=vector(fill=2.0), agreed=agreed)
    assert torch.equal(agreed, vector(fill=0.25))


def test_schema_has_what_these_tests_speak_of() -> None:
    model = Normed()
    assert MomentumSGD(model.parameters(), lr=0.1, momentum=0.9).momenta()[0].shape == model.linear.weight.shape
    assert [entry.name for entry in SCHEMA.entries if entry.part == "buffer"] == [
        "norm.running_mean",
        "norm.running_var",
    ]
    assert SCHEMA.entries[-1].offset == VARIANCE
