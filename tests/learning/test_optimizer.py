from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from marfl_peer.learning.optimizer import MomentumSGD


def gradients_of(steps: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(7, generator=generator) for _ in range(steps)]


def walk(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradients: list[Tensor]) -> None:
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()


def test_momentum_sgd_follows_the_formula() -> None:
    parameter = nn.Parameter(torch.ones(7))
    optimizer = MomentumSGD([parameter], lr=0.1, momentum=0.9)
    walk(optimizer, parameter, gradients_of(20))
    theta, m = torch.ones(7, dtype=torch.float64), torch.zeros(7, dtype=torch.float64)
    for gradient in gradients_of(20):
        m = 0.9 * m + 0.1 * gradient.double()
        theta = theta - 0.1 * m
    torch.testing.assert_close(parameter.detach(), theta.float())
    torch.testing.assert_close(optimizer.state[parameter]["momentum_buffer"], m.float())


def test_momentum_sgd_is_not_torch_sgd() -> None:
    ours, theirs = nn.Parameter(torch.ones(7)), nn.Parameter(torch.ones(7))
    walk(MomentumSGD([ours], lr=0.1, momentum=0.9), ours, gradients_of(3))
    walk(torch.optim.SGD([theirs], lr=0.1, momentum=0.9), theirs, gradients_of(3))
    assert (ours - theirs).abs().max() > 0.1


def test_momentum_sgd_without_momentum_is_plain_sgd() -> None:
    ours, theirs = nn.Parameter(torch.ones(7)), nn.Parameter(torch.ones(7))
    walk(MomentumSGD([ours], lr=0.1, momentum=0.0), ours, gradients_of(3))
    walk(torch.optim.SGD([theirs], lr=0.1), theirs, gradients_of(3))
    torch.testing.assert_close(ours, theirs)


def test_momentum_sgd_holds_zero_buffers_before_any_step() -> None:
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3, 2))
    optimizer = MomentumSGD([first], lr=0.1, momentum=0.9)
    optimizer.add_param_group({"params": [second]})
    for parameter in (first, second):
        buffer = optimizer.state[parameter]["momentum_buffer"]
        assert torch.equal(buffer, torch.zeros_like(parameter))
        assert not buffer.requires_grad


def test_momentum_sgd_leaves_parameters_without_gradient_alone() -> None:
    still, moving = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = MomentumSGD([still, moving], lr=0.1, momentum=0.9)
    optimizer.state[still]["momentum_buffer"].fill_(1.0)
    moving.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(still.detach(), torch.ones(2))
    assert torch.equal(optimizer.state[still]["momentum_buffer"], torch.ones(2))
    torch.testing.assert_close(moving.detach(), torch.full((2,), 0.99))


def test_momentum_sgd_without_any_gradient_does_nothing() -> None:
    parameter = nn.Parameter(torch.ones(2))
    MomentumSGD([parameter], lr=0.1, momentum=0.9).step()
    assert parameter.tolist() == [1.0, 1.0]


def test_momentum_sgd_calls_its_closure_with_gradients_enabled() -> None:
    parameter = nn.Parameter(torch.tensor([3.0]))
    optimizer = MomentumSGD([parameter], lr=1.0, momentum=0.0)

    def closure() -> float:
        loss = (parameter**2).sum()
        torch.autograd.backward(loss)
        return float(loss.detach())

    assert optimizer.step(closure) == 9.0
    assert parameter.tolist() == [-3.0]


def test_momentum_sgd_state_survives_saving() -> None:
    parameter, copy = nn.Parameter(torch.ones(7)), nn.Parameter(torch.ones(7))
    optimizer = MomentumSGD([parameter], lr=0.1, momentum=0.9)
    walk(optimizer, parameter, gradients_of(3))
    resumed = MomentumSGD([copy], lr=0.1, momentum=0.9)
    resumed.load_state_dict(optimizer.state_dict())
    kept = resumed.state[copy]["momentum_buffer"]
    assert torch.equal(kept, optimizer.state[parameter]["momentum_buffer"])


@pytest.mark.parametrize(("lr", "momentum"), [(-0.1, 0.9), (0.1, 1.0), (0.1, -0.1), (float("nan"), 0.9)])
def test_momentum_sgd_with_impossible_settings_raises(lr: float, momentum: float) -> None:
    with pytest.raises(ValueError, match="must"):
        MomentumSGD([nn.Parameter(torch.ones(1))], lr=lr, momentum=momentum)
