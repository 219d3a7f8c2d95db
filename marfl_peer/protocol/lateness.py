"""Who is called late on a line: a peer that should lead, is alive, and does not. Who leads instead, and from when on.

Without this a line of peers that are all there would wait until D_g for the one that is not, and end without a result.

    A member that has heard of no proposal a step after the gathering should be over (see `deadlines`) calls the leader
    late and says so to all; whoever hears it calls it late, too, and says "here" to all. The lowest that nobody calls
    late is the deputy. A step after the first call it has heard who is here, and proposes.
    A deputy that has not said "here" a step later is late as well, and everybody below the lowest who has; one that has
    said so and proposes nothing, a step after that.

A call is believed at once: who calls may have arrived long before, and only the leader knows. A false one ends the
gathering early, at the cost of the slow; it takes no seat from who is here, and who ever made a ballot is not late.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable

from marfl_peer.ids import PeerId
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.lines import Line


class Lateness:
    """What is known of it at one peer. Names are only added; ballots take them back. `ballots` is its owner's."""

    def __init__(self, line: Line, ballots: BallotBox) -> None:
        self._line, self._ballots = line, ballots
        self._called: set[PeerId] = set()
        self._first = self._last = -math.inf

    @property
    def named(self) -> tuple[PeerId, ...]:
        """Who is called late and has made no ballot, ascending."""
        return tuple(sorted(self._called - self._ballots.proposers)) if self._called else ()

    def call(self, peers: Iterable[str], *, now: float) -> None:
        """Players of the line are called late, here or by somebody else."""
        new = {PeerId(peer) for peer in peers} & self._line.peers - self._called
        if new:
            self._first = self._first if self._called else now
            self._last = now
            self._called |= new

    def leader_of(self, live: Collection[PeerId]) -> PeerId | None:
        """The lowest that is not late; where all are, the lowest. Who listens comes before who is dial-only."""
        late, lowest = self.named, None
        for peer in self._line.ranked:
            if peer in live:
                if peer not in late:
                    return peer
                lowest = lowest or peer
        return lowest

    def first_called_at(self, leader: PeerId) -> float | None:
        """When those who are here began to say so to all, as `leader` leads instead of somebody who is late; None where
        it does not."""
        late = self.named
        return None if not late or leader in late else self._first

    def next_call(
        self, leader: PeerId, live: Collection[PeerId], is_here: Callable[[PeerId], bool], *, first: float, step: float
    ) -> tuple[float, set[PeerId]] | None:
        """When to call whom late if `leader` goes on to propose nothing; None: nobody. `first`: the earliest that this
        peer calls anybody late."""
        if leader in self.named or leader in self._ballots.proposers:
            return None
        if not self.named:
            return first, {leader}
        others = [peer for peer in live if peer not in self.named and peer != leader and is_here(peer)]
        if not others:
            return None  # nobody who is here could lead instead
        at = self._last + (2 * step if is_here(leader) else step)
        ranked = self._line.ranked
        deputy = next(rank for rank, peer in enumerate(ranked) if peer in others)
        return max(first, at), {peer for peer in ranked[:deputy] if peer in live} - set(self.named)
