"""The local optimizer of MAR-FL: m <- mu * m + (1 - mu) * g; theta <- theta - eta * m (arXiv 2512.05234).

It differs from torch.optim.SGD, whose momentum is not damped by default and starts as the first gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class MomentumSGD(Optimizer):
    """Momentum SGD with m starting at 0.

    `state[parameter]["momentum_buffer"]` exists from the start, so that momentum can be exchanged before any
    step. Parameters without a gradient are left alone, momentum included.
    """

    def __init__(self, params: ParamsT, *, lr: float, momentum: float) -> None:
        """Raises: ValueError for lr < 0 or momentum outside [0, 1)."""
        if not lr >= 0.0:
            raise ValueError(f"lr {lr} must not be negative")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum {momentum} must be in [0, 1)")
        super().__init__(params, {"lr": lr, "momentum": momentum})

    def add_param_group(self, param_group: dict[str, Any]) -> None:  # Any: as torch declares it
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)

    def momenta(self) -> list[Tensor]:
        """The momentum of every parameter, in their order; not copies."""
        return [
            self.state[parameter]["momentum_buffer"] for group in self.param_groups for parameter in group["params"]
        ]

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step from the gradients that are there; returns what `closure` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moving: list[Tensor] = [parameter for parameter in group["params"] if parameter.grad is not None]
            if moving:
                gradients = [parameter.grad for parameter in moving if parameter.grad is not None]
                buffers = [self.state[parameter]["momentum_buffer"] for parameter in moving]
                torch._foreach_mul_(buffers, group["momentum"])
                torch._foreach_add_(buffers, gradients, alpha=1.0 - group["momentum"])
                torch._foreach_add_(moving, buffers, alpha=-group["lr"])
        return loss
