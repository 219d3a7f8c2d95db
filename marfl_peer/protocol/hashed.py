"""Placement by hash, for swarms too large for a view: who meets whom is drawn anew in every round by a hash that each
peer can work out for each other one. No grid, nobody has to know everybody; the mean is approached, not reached.

    bucket of a peer = H(peer id, iteration, round) mod r
    every member of a group leaves with the group's weighted mean, and with the group's weight / members present

The sums over all peers of weight, and of weight * value, stay what they were, whatever the sizes of the groups. One
round leaves (k - 1) / (N - 1) of the variance on average, k the groups that are not empty: k <= r.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from marfl_peer.config import MAX_GROUP_SIZE, Settings
from marfl_peer.errors import ConfigError, LocalProtocolError
from marfl_peer.ids import DhtKey, Iteration, PeerId, Round, RunId, dht_key
from marfl_peer.protocol.seats import Holding

WEIGHT_UNITS = 2**20
"""A sample's weight on the wire: shares stay whole numbers, and a group's weight stays below 2^62."""
MAX_HASHED_GROUP_SIZE = MAX_GROUP_SIZE // 2
"""Groups are as large as the hash makes them; one of twice the mean of 32 comes less than once in a million."""
_SEAT_BITS = 31


class Lots(Protocol):
    """What says who meets whom in a round. `digest`, 40 hex digits, names the rules; `rounds` is G."""

    @property
    def digest(self) -> str: ...

    @property
    def rounds(self) -> int: ...

    def bucket(self, peer: PeerId, iteration: Iteration, round: Round) -> int:
        """The group that a peer belongs to, from 0; negative for one that has none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashing:
    """The rules of one run. `rounds` an iteration, each with `buckets` groups at most."""

    run_id: RunId
    buckets: int
    rounds: int

    @classmethod
    def of(cls, settings: Settings) -> Hashing:
        """Raises: ConfigError where the number of buckets is not set, or groups would be too large."""
        if settings.buckets < 1:
            raise ConfigError("buckets", settings.buckets, "say how many groups a round has: peers / group-size")
        if settings.group_size > MAX_HASHED_GROUP_SIZE:
            remedy = f"must be at most {MAX_HASHED_GROUP_SIZE} with placement hashed: groups differ in size"
            raise ConfigError("group-size", settings.group_size, remedy)
        rounds = settings.rounds or rounds_for(settings.buckets, settings.group_size)
        return cls(run_id=RunId(settings.run_id), buckets=settings.buckets, rounds=rounds)

    @property
    def digest(self) -> str:
        """40 hex digits: stands in messages where a view's digest stands on the grid."""
        return dht_key("hashed", self.run_id, self.buckets, self.rounds).hex()

    def bucket(self, peer: PeerId, iteration: Iteration, round: Round) -> int:
        """The group that a peer belongs to, from 0."""
        drawn = hashlib.sha256(f"{peer} {iteration} {round}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") % self.buckets

    def key(self, iteration: Iteration, round: Round, bucket: int) -> DhtKey:
        """The group key: where the members of a bucket announce themselves, one iteration ahead."""
        return dht_key("bucket", self.run_id, self.buckets, iteration, round, bucket)


def buckets_for(peers: int, group_size: int) -> int:
    """r: as many groups as `peers` >= 1 fill with `group_size` each."""
    return -(-peers // group_size)


def rounds_for(buckets: int, group_size: int) -> int:
    """The rounds that a grid of as many peers takes: the smallest G with group_size^G >= buckets * group_size."""
    rounds, reach = 1, group_size
    while reach < buckets * group_size:
        rounds, reach = rounds + 1, reach * group_size
    return rounds


def with_buckets(settings: Settings, peers: int) -> Settings:
    """These settings with the number of buckets that `peers` peers need, where placement is hashed and none is set."""
    if settings.placement != "hashed" or settings.buckets or peers < 2:
        return settings
    return replace(settings, buckets=buckets_for(peers, settings.group_size))


def seat_number(peer: PeerId) -> int:
    """Stands for a cell where there is no grid: sums run in the order of the ids."""
    return int(peer[:8], 16) >> (32 - _SEAT_BITS)


def in_units(holding: Holding) -> Holding:
    """What a peer brings to the first round; its weight is in samples until then."""
    return replace(holding, weight=holding.weight * WEIGHT_UNITS)


def in_samples(holding: Holding) -> Holding:
    """What a peer has after the last round: about the mean weight of a peer, in samples, at least 1 if there is any."""
    return replace(holding, weight=max(-(-holding.weight // WEIGHT_UNITS), 0))


def share(total: Holding, members: Iterable[PeerId], me: PeerId) -> Holding:
    """One member's part of what a group holds together. The parts of all `members` add up to it, to the last unit of
    weight; integers are maxima, which everybody has.

    Raises: LocalProtocolError for a peer that is not a member.
    """
    ranked = sorted(members)
    if me not in ranked:
        raise LocalProtocolError("a share of a group without this peer")
    whole, rest = divmod(total.weight, len(ranked))
    return Holding(
        weight=whole + (ranked.index(me) < rest),
        sums=tuple(part / len(ranked) for part in total.sums),
        maxima=total.maxima,
    )


def expected_residual(peers: int, buckets: int) -> float:
    """The variance that one round leaves on average, relative to what there was: (k - 1) / (N - 1), k the expected
    number of buckets that are not empty. Exact for equal weights; for others it holds of weight * (value - mean).

    A bound that is easier to remember: (r - 1) / (N - 1), as for random groups of equal size.
    """
    if peers < 2:
        return 0.0
    filled = buckets * (1.0 - (1.0 - 1.0 / buckets) ** peers)
    return (filled - 1.0) / (peers - 1.0)
