"""Whose turn it is to be probed, and how often: all in one order, and not all peers at the same moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from marfl_peer.ids import PeerId

REFRESH_S = 30.0
"""How long a swarm takes to read all that the DHT knows of its members, each peer a part."""


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


T = TypeVar("T", bound=_Ordered)


def next_in_turn(candidates: Iterable[T], last: T | None) -> T | None:
    """The candidate that follows `last` in their order; after the last one the first again, None if there are none."""
    ordered = sorted(candidates)
    later = [candidate for candidate in ordered if last is not None and last < candidate]
    return next(iter(later or ordered), None)


def offset_s(peer: PeerId, period_s: float) -> float:
    """When in the first period a peer begins: spread by the ids, so that a swarm's probes do not come at once."""
    return int(peer[:8], 16) / 16**8 * period_s


def refresh_s(peers: int, buckets: int) -> float:
    """Seconds from one bucket to the next for each of so many peers."""
    return REFRESH_S * min(1.0, max(peers, 1) / buckets)
