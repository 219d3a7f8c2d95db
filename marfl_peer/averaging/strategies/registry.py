"""Strategies by name: how the contributions to a segment are combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from marfl_peer.averaging.strategies.mean import Values, weighted_mean_

Strategy = Callable[[Values, Sequence[Values], Sequence[int], Values], bool]
"""(out, parts in the order of the cells, weights, scratch) -> whether `out` is finite; see `weighted_mean_`."""

STRATEGIES: dict[str, Strategy] = {"mean": weighted_mean_}
