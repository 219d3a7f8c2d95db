"""Groups by lot: in every round the members of the view are shuffled, by a seed that all know, and cut into groups.

    groups of at most M peers: sizes differ by one at most
    pairs (gossip): one peer is alone where their number is odd

Of groups of equal size a round leaves (r - 1) / (N - 1) of the variance on average, r the number of groups. Everybody
works out everybody's group from the view alone. No time, no chance of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from marfl_peer.ids import Iteration, PeerId, Round
from marfl_peer.protocol.view import View

NOBODYS = -1
"""The group of who is not in the view."""


def cuts_of(peers: int, size: int) -> tuple[int, ...]:
    """Where a row of one or more peers is cut into groups of at most `size`, from 0 to `peers`: sizes differ by one at
    most."""
    count = -(-peers // size)
    return tuple(peers * part // count for part in range(count + 1))


class Drawing:
    """The groups of one iteration's view, of at most `size` members; `rounds` an iteration."""

    def __init__(self, view: View, *, seed: int, size: int, rounds: int) -> None:
        self.rounds = rounds
        self._view, self._seed, self._size = view, seed, size
        self._groups: dict[Round, tuple[tuple[PeerId, ...], ...]] = {}
        self._buckets: dict[Round, dict[PeerId, int]] = {}

    @property
    def digest(self) -> str:
        """That of the view: who has another one draws other groups."""
        return self._view.digest

    def groups(self, round: Round) -> tuple[tuple[PeerId, ...], ...]:
        """Everybody, each once; the members of a group ascend."""
        if round not in self._groups:
            shuffled = _shuffled(self._view.members, f"{self._seed} {self._view.iteration} {round}")
            cuts = cuts_of(len(shuffled), self._size)
            self._groups[round] = tuple(tuple(sorted(shuffled[a:b])) for a, b in pairwise(cuts))
        return self._groups[round]

    def bucket(self, peer: PeerId, iteration: Iteration, round: Round) -> int:
        """The number of a peer's group, from 0; NOBODYS for strangers and other iterations than the view's."""
        if iteration != self._view.iteration:
            return NOBODYS
        if round not in self._buckets:
            groups = enumerate(self.groups(round))
            self._buckets[round] = {member: number for number, group in groups for member in group}
        return self._buckets[round].get(peer, NOBODYS)

    def mates(self, peer: PeerId, round: Round) -> tuple[PeerId, ...]:
        """The group of a member, itself among them; () for a stranger."""
        number = self.bucket(peer, self._view.iteration, round)
        return () if number == NOBODYS else self.groups(round)[number]


def _shuffled(members: Sequence[PeerId], salt: str) -> list[PeerId]:
    return sorted(members, key=lambda peer: hashlib.sha256(f"{salt} {peer}".encode()).digest())
