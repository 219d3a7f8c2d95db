"""Notes, round by round, what a peer's own cell holds: as a sketch, from which others see how values come together.

Knows the walk of that cell; not who else is on it, nor what the sketches are compared with. Costs a pass over theta a
round, on the event loop (15 ms for the paper's CNN).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from marfl_peer.facts import Sink, VectorSketched
from marfl_peer.peer.vectors import Vectors
from marfl_peer.protocol.aggregations import AnyAggregation


class MixingTrace:
    """The trace of one iteration's rounds. `sketch` is that of a vector [n]."""

    def __init__(
        self,
        aggregation: AnyAggregation,
        vectors: Vectors,
        *,
        sketch: Callable[[Tensor], tuple[float, ...]],
        tell: Sink,
    ) -> None:
        self._aggregation, self._vectors = aggregation, vectors
        self._sketch, self._tell = sketch, tell
        self._round = 0

    def follow(self) -> None:
        """Tells what the cell held after each round that is over and was not told yet; first, before round 1."""
        while (stand := self._aggregation.home_stand_at(self._round + 1)) is not None:
            self._tell(
                VectorSketched(
                    iteration=self._aggregation.iteration,
                    round=self._round,
                    weight=stand.holding.weight,
                    sketch=self._sketch(self._vectors[stand.vector]),
                )
            )
            self._round += 1
