"""Peers that a hash places in groups, played against each other in virtual time; look-ups may find everybody or not."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from network_of_machines import Network, Vector

from marfl_peer.ids import Iteration, PeerId, Round, RunId
from marfl_peer.protocol.hashed import Hashing
from marfl_peer.protocol.hashed_iteration import HashedAggregation
from marfl_peer.protocol.view import Membership, MembershipEvent, View

LookUp = Callable[[random.Random, list[PeerId]], list[PeerId]]


def hashed_peer(number: int) -> PeerId:
    return PeerId(hashlib.sha256(str(number).encode()).hexdigest()[:40])


def view_of_hashed(count: int) -> View:
    membership = Membership()
    membership.add(
        MembershipEvent(peer_id=hashed_peer(number), incarnation=1, kind="joined", iteration=-1)
        for number in range(count)
    )
    return membership.view(Iteration(1), 4)


def everybody(rng: random.Random, mates: list[PeerId]) -> list[PeerId]:
    return mates


def most(rng: random.Random, mates: list[PeerId]) -> list[PeerId]:
    """Each other one with a chance of 3 in 4: no two look-ups need agree."""
    return [mate for mate in mates if rng.random() < 0.75]


def nobody(rng: random.Random, mates: list[PeerId]) -> list[PeerId]:
    return []


class HashedNetwork(Network):
    """`look_up(rng, mates)` is what each peer finds of those in its bucket, round by round."""

    def __init__(
        self,
        count: int,
        *,
        buckets: int,
        rounds: int,
        seed: int = 0,
        look_up: LookUp = everybody,
        late: Mapping[int, float] | None = None,
        duplicates: float = 0.0,
        length: int = 7,
    ) -> None:
        self.hashing = Hashing(run_id=RunId("run"), buckets=buckets, rounds=rounds)
        super().__init__(count, view=view_of_hashed(count), seed=seed, late=late, duplicates=duplicates, length=length)
        finding = random.Random(seed)
        for member, node in self.nodes.items():
            for round in range(1, rounds + 1):
                found = look_up(finding, [mate for mate in self.bucket_of(member, round) if mate != member])
                node.happen(
                    lambda node=node, round=round, found=found: node.aggregation.found(round, found, now=self.now)  # type: ignore[misc]
                )

    def make(self, me: PeerId, vector_bytes: int) -> Any:
        return HashedAggregation(
            me=me,
            hashing=self.hashing,
            iteration=Iteration(1),
            vector_bytes=vector_bytes,
            slowest_link_bytes_per_s=1e9,
            update_times_s=[],
        )

    def bucket_of(self, member: PeerId, round: int) -> list[PeerId]:
        """Those that the hash puts together with it, itself among them."""

        def bucket(peer: PeerId) -> int:
            return self.hashing.bucket(peer, Iteration(1), Round(round))

        return [peer for peer in self.view.members if bucket(peer) == bucket(member)]

    def total(self) -> tuple[Vector, int]:
        """Sum of weight * value, and of weight, over all that live."""
        held = [self.nodes[member].result() for member in sorted(self.nodes)]
        return sum((vector * holding.weight for vector, holding in held), np.zeros(1)), sum(h.weight for _, h in held)

    def total_at_first(self) -> tuple[Vector, int]:
        held = [self.initial[member] for member in sorted(self.initial)]
        return sum((vector * weight for vector, weight in held), np.zeros(1)), sum(weight for _, weight in held)

    def expect_totals(self) -> None:
        """Nobody's value is lost, none is counted twice."""
        (found, weight), (expected, expected_weight) = self.total(), self.total_at_first()
        assert weight == expected_weight
        assert np.allclose(found, expected, rtol=1e-12, atol=1e-9)
