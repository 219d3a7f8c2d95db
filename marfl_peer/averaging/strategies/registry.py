"""Strategies by name: how the contributions to a segment are combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from marfl_peer.averaging.strategies.mean import weighted_mean_

Strategy = Callable[[Tensor, Sequence[Tensor], Sequence[int], Tensor], None]
"""(out, parts in the order of the cells, weights, scratch) -> None; see `weighted_mean_`."""

STRATEGIES: dict[str, Strategy] = {"mean": weighted_mean_}
