"""Schemes in which all peers are one group: a grid of one axis, on which every peer has its cell, and one round.

What differs is how bytes flow in that group. Finding each other, ballots and failures are as on any grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from marfl_peer.config import Settings
from marfl_peer.peer.flows import Flow
from marfl_peer.peer.placements import Placement
from marfl_peer.peer.scheme import Site, grid_placement
from marfl_peer.protocol.messages import MAX_MEMBERS


@dataclass(frozen=True, slots=True)
class OneGroup:
    """A swarm that grows beyond MAX_MEMBERS fills a grid of two axes: it has two rounds from then on."""

    name: str
    make_flow: Callable[[], Flow]

    def group_size(self, settings: Settings) -> int:
        return MAX_MEMBERS

    def flow(self, settings: Settings) -> Flow:
        return self.make_flow()

    def placement(self, site: Site) -> Placement:
        return grid_placement(site)
