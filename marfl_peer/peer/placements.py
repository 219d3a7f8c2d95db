"""How peers are placed in groups, as the iterations see it, and the placement of the paper: a grid that the view fills.

Knows how rounds begin and how the members of a group find each other; not what they exchange.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from marfl_peer.ids import PeerId, Round
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.groups import Groups
from marfl_peer.peer.rounds import Rounds
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.view import View


class Placement(Protocol):
    """`is_exact`: whether all members hold the same after the last round. `follows_views`: whether groups change with
    the view, so that rounds may have to begin again. `lookups`: DHT look-ups made for iterations, since the start."""

    is_exact: bool
    follows_views: bool

    @property
    def lookups(self) -> int: ...

    def shape(self, view: View) -> tuple[int, ...]:
        """Of the grid; () without one."""
        ...

    def begin(self, view: View, *, update_times_s: Collection[float], gone: Collection[PeerId]) -> Rounds:
        """Opens the rounds of `view.iteration`."""
        ...

    def meet(self, view: View, round: Round) -> None:
        """This peer is about to enter a round."""
        ...

    def brought(self, holding: Holding) -> Holding:
        """What a peer's own update is in the first round."""
        ...

    def told(self, holding: Holding) -> Holding:
        """What the result of the last round says of the swarm."""
        ...

    async def close(self) -> None: ...


class GridPlacement:
    """Every round averages along one axis of the grid. `me` plays its own cell, and empty ones."""

    is_exact = True
    follows_views = True

    def __init__(self, me: PeerId, *, groups: Groups, aggregator: Aggregator) -> None:
        self._me, self._groups, self._aggregator = me, groups, aggregator
        self._prepared = ""

    @property
    def lookups(self) -> int:
        return self._groups.lookups

    def shape(self, view: View) -> tuple[int, ...]:
        return view.grid.shape

    def begin(self, view: View, *, update_times_s: Collection[float], gone: Collection[PeerId]) -> Rounds:
        rounds = self._aggregator.begin(view, update_times_s=update_times_s, gone=gone)
        if view.digest != self._prepared:
            self._prepared = view.digest
            self._groups.prepare(view)
        return rounds

    def meet(self, view: View, round: Round) -> None:
        """The coordinates without this round's axis are the group key, under which the line's members find each other;
        for the next round the key rotates to the next axis."""
        self._groups.meet(view, view.cell_of[self._me], round)

    def brought(self, holding: Holding) -> Holding:
        return holding

    def told(self, holding: Holding) -> Holding:
        return holding

    async def close(self) -> None:
        await self._groups.close()
