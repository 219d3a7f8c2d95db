"""Over whom the events of the first view reach all its members: a tree with the founder at its root.

A function of the founder and the members, so that whoever knows the view knows whom to pass its events on to.
"""

from __future__ import annotations

from collections.abc import Iterable

from marfl_peer.ids import PeerId

RELAY_WIDTH = 32
"""To how many others a peer gives the events: of a thousand peers that is 8 MB, and 0.2 s of an uplink of 50 MB/s. To
all of them it were 270 MB and 5 s, in which its heartbeats wait and others take it for lost."""


class RelayTree:
    """Positions are those of a heap: the founder has 0, the other members follow, ascending; the children of position p
    are `width` p + 1 .. `width` p + `width`. Up to `width` others are all the founder's own children."""

    def __init__(self, founder: PeerId, members: Iterable[PeerId], *, width: int) -> None:
        """`members`: the first view's; whether the founder is among them or not makes no difference."""
        self._order = [founder, *sorted(set(members) - {founder})]
        self._positions = {peer: position for position, peer in enumerate(self._order)}
        self._width = width

    def children(self, peer: PeerId) -> list[PeerId]:
        """To whom this member passes the events on, ascending."""
        first = self._width * self._positions[peer] + 1
        return self._order[first : first + self._width]

    def parent(self, peer: PeerId) -> PeerId:
        """From whom this member, who is not the founder, has the events."""
        return self._order[(self._positions[peer] - 1) // self._width]
