"""What a swarm starts from when it is founded: founders may hold states of an earlier life, of different iterations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from marfl_peer.ids import PeerId


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """The state after `iteration`, by its digest; iteration 0 is the initial state."""

    iteration: int
    digest: str


def start_from(held: Mapping[PeerId, Held]) -> tuple[Held, list[PeerId]]:
    """The state to go on from, and who holds it, ascending: the latest; of several that which most hold, then that of
    the lowest digest. `held` must not be empty."""
    holders: dict[Held, list[PeerId]] = {}
    for peer, state in sorted(held.items()):
        holders.setdefault(state, []).append(peer)
    best = min(holders, key=lambda state: (-state.iteration, -len(holders[state]), state.digest))
    return best, holders[best]
