"""The vectors of one iteration by name: this peer's own update, and the result of each line that it went through.

Knows for how long they are needed; not how a result comes about.
"""

from __future__ import annotations

from torch import Tensor

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.strategies.mean import weighted_mean_
from marfl_peer.protocol.aggregations import AnyAggregation
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.walks import VectorName


class Vectors:
    """Vectors [n]; which of them a cell holds is what `aggregation` says."""

    def __init__(self, aggregation: AnyAggregation, pool: BufferPool) -> None:
        self._aggregation, self._pool = aggregation, pool
        self._by_name: dict[VectorName, Tensor] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def __getitem__(self, name: VectorName) -> Tensor:
        return self._by_name[name]

    def __setitem__(self, name: VectorName, vector: Tensor) -> None:
        """The vector belongs here from now on."""
        self._by_name[name] = vector

    def contribution(self, name: LineName, cells: list[int]) -> Tensor:
        """What this peer brings to a line: its cell's vector, or the weighted mean of its cells' there."""
        held = self._aggregation.contribution(name, cells)
        weighty = [(vector, weight) for vector, weight in held if weight]
        if len({vector for vector, _ in weighty}) <= 1:
            return self._by_name[weighty[0][0] if weighty else held[0][0]]
        mean = self._pool.take()
        vectors = [self._by_name[vector].numpy() for vector, _ in weighty]
        weighted_mean_(mean.numpy(), vectors, [weight for _, weight in weighty], mean.new_empty(mean.numel()).numpy())
        return mean

    def rest(self) -> None:
        """Forgets all but what a cell of a peer that is lost now is played from."""
        wanted = self._aggregation.kept_for_others()
        self._by_name = {name: vector for name, vector in self._by_name.items() if name in wanted}

    def close(self) -> None:
        """Forgets all."""
        self._by_name.clear()
