"""What happened: immutable records that the peer emits and `observe/` turns into metrics and a journal.

A fact states something that is over, in the past tense. It carries no time: the sink that receives it stamps it.
Peers are named by their ids, iterations are counted from 1, seconds are durations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

ByteKind = Literal["tensor", "control", "dht", "state"]
DhtCall = Literal["answered", "missed", "served"]
"""answered, missed: calls of this peer's by what came of them; served: calls of others that it answered."""
MembershipEvent = Literal["joined", "left", "lost"]
WaitedFor = Literal["members", "result", "view", "state", "models"]
WaitOutcome = Literal["arrived", "lost", "deadline"]
LookupPurpose = Literal["run", "members", "group", "refresh"]
PublishPurpose = Literal["run", "member", "group", "withdraw"]
GroupOutcome = Literal["complete", "partial", "taken", "alone", "skipped"]
"""complete: everybody of the line took part; partial: some were left out; taken: the result of a ballot that
others completed was fetched; alone: nobody else was there; skipped: the deadline passed without a result."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, tag_field="fact"):
    """Base of all facts; the class name is the `fact` field of its JSON form."""


class PeerStarted(Fact, frozen=True, tag=True):
    peer_id: str
    incarnation: int
    run_id: str
    host: str
    port: int
    task: str
    vector_bytes: int | None = None
    """Of what is averaged, in float32; None in journals of earlier versions."""


class ShardClaimed(Fact, frozen=True, tag=True):
    shard: int | None
    shards: int
    samples: int


class ViewChanged(Fact, frozen=True, tag=True):
    """The peers that count from this iteration on."""

    iteration: int
    digest: str
    peers: int
    grid: tuple[int, ...]
    cell: int | None


class IterationStarted(Fact, frozen=True, tag=True):
    iteration: int


class LocalUpdateFinished(Fact, frozen=True, tag=True):
    iteration: int
    samples: int
    batches: int
    loss: float | None
    """None where nothing was trained or the loss is not finite; under differential privacy always, because facts are
    read by others, too."""
    seconds: float


class Distilled(Fact, frozen=True, tag=True):
    """One round of distillation at this peer is over.

    `asked`: mates on the line; `candidates`: those whose model was heard; `teachers`: those that were learned from,
    the nearest first; `divergence`: from them, before, summed over the mini-batches, in nats; `follow`: lambda;
    `loss`: the mean of the steps. Both are None where nothing was learned or they are not finite.
    """

    iteration: int
    round: int
    line: int
    asked: int
    candidates: int
    teachers: tuple[str, ...]
    divergence: float | None
    follow: float
    loss: float | None
    bytes_received: int
    seconds: float


class WaitEnded(Fact, frozen=True, tag=True):
    """A wait for other peers: how long it took, how long it was allowed to, and what ended it."""

    iteration: int
    round: int
    waited_for: WaitedFor
    seconds: float
    allowed_s: float
    outcome: WaitOutcome


class GroupAgreed(Fact, frozen=True, tag=True):
    iteration: int
    round: int
    line: int
    attempt: int
    leader: str
    members: tuple[str, ...]


class GroupFinished(Fact, frozen=True, tag=True):
    """One group exchange of this peer is over.

    `ballot`: (attempt, leader) of the one whose result it holds, and `weight` that of the result; None without one.
    """

    iteration: int
    round: int
    line: int
    outcome: GroupOutcome
    attempts: int
    members: tuple[str, ...]
    absent: int
    seconds: float
    ballot: tuple[int, str] | None = None
    weight: int | None = None


class VectorSketched(Fact, frozen=True, tag=True):
    """What this peer's own cell holds after `round`, 0: before round 1, as a seeded random sketch of theta. Told with
    `trace_mixing` only."""

    iteration: int
    round: int
    weight: int
    sketch: tuple[float, ...]


class CellTakenOver(Fact, frozen=True, tag=True):
    """This peer plays the cell of a peer that is gone."""

    iteration: int
    round: int
    cell: int
    instead_of: str | None


class ResultSuperseded(Fact, frozen=True, tag=True):
    iteration: int
    round: int
    line: int


class Evaluated(Fact, frozen=True, tag=True):
    """This peer's share of the test set under the state after `iteration`."""

    iteration: int
    correct: float
    seen: int
    loss: float | None
    scope: Literal["share", "full"]


class IterationFinished(Fact, frozen=True, tag=True):
    """`projection` is a seeded random sketch of theta: equal states have equal sketches.

    `test_accuracy` and `test_loss` are the swarm's, over every evaluated share, of the state after
    iteration `evaluated_iteration`; None until the first evaluation came round.
    `train_loss` is the swarm's sample-weighted mean of this iteration's local updates.
    `bytes_sent`, `dht_lookups` and `dht_calls` are this peer's, since its last IterationFinished.
    """

    iteration: int
    seconds: float
    weight: int
    projection: tuple[float, ...]
    train_loss: float | None
    evaluated_iteration: int | None
    test_accuracy: float | None
    test_loss: float | None
    groups_complete: int
    groups_partial: int
    peers: int
    bytes_sent: dict[str, int]
    dht_lookups: int
    dht_calls: dict[DhtCall, int] = {}
    """Datagrams to and from others by what came of them; empty in journals of earlier versions."""


class IterationSkipped(Fact, frozen=True, tag=True):
    """This peer did not take part in the iteration: it was behind, or not in the view."""

    iteration: int
    reason: str


class PeerSeen(Fact, frozen=True, tag=True):
    """A membership event about another peer became known."""

    peer_id: str
    event: MembershipEvent
    iteration: int
    reason: str


class MergeAgreed(Fact, frozen=True, tag=True):
    """Another part of the swarm was found: both are one view from `iteration` on.

    `own_iteration` and `other_iteration` are where this peer's part and the other were when they met.
    """

    iteration: int
    own_iteration: int
    other_iteration: int


class PeersCounted(Fact, frozen=True, tag=True):
    """How many peers this one sees, itself included: the members of its view that are not known to be gone; `known`
    are all that ever joined and did not leave on purpose."""

    seen: int
    known: int


class UplinkMeasured(Fact, frozen=True, tag=True):
    """How fast this peer sends in exchanges, as its system counted of late; told when that has changed by a step."""

    bytes_per_s: float


class ConnectionRefused(Fact, frozen=True, tag=True):
    """A connection was turned away at the door, by us or (by_us false) by the other side."""

    code: str
    remote: str
    by_us: bool
    detail: str


class RemoteFault(Fact, frozen=True, tag=True):
    """Another peer broke the rules: a bad frame, an invalid message, a value that is not finite. It was dropped."""

    code: str
    remote: str
    detail: str


class DatagramRejected(Fact, frozen=True, tag=True):
    """A UDP datagram or DHT record was not what it should be and was dropped."""

    code: str
    count: int


class DhtLookedUp(Fact, frozen=True, tag=True):
    purpose: LookupPurpose
    records: int
    seconds: float


class DhtPublished(Fact, frozen=True, tag=True):
    purpose: PublishPurpose
    nodes: int
    seconds: float


class StateFetched(Fact, frozen=True, tag=True):
    """The agreed state was downloaded from `sources` other peers; `source` gave most of it."""

    iteration: int
    source: str
    sources: int
    bytes_received: int
    seconds: float


class StateSaved(Fact, frozen=True, tag=True):
    iteration: int
    bytes_written: int
    seconds: float


class StateNotSaved(Fact, frozen=True, tag=True):
    """The state after `iteration` could not be written; the one saved before is still there."""

    iteration: int
    detail: str


class StateResumed(Fact, frozen=True, tag=True):
    """This peer starts from the state on its disk: that after `iteration`, at this place in its data."""

    iteration: int
    bytes_read: int
    epoch: int
    offset: int
    seconds: float


class StateRejected(Fact, frozen=True, tag=True):
    """The state on disk is not started from. damaged: it is not whole; foreign: it is of another peer, run or
    model."""

    reason: Literal["damaged", "foreign"]
    detail: str


class PrivacySpent(Fact, frozen=True, tag=True):
    """What this peer's releases add up to by now: (epsilon, delta) against a group-mate, who sees each of them, and
    against an outsider, who sees only the models that come of them. `clip` is C in this iteration, `noise_std` the
    deviation of the noise on a coordinate of an update."""

    iteration: int
    epsilon_mate: float
    epsilon_outsider: float
    delta: float
    clip: float
    noise_std: float
    releases: int


class LoopLagged(Fact, frozen=True, tag=True):
    """The event loop was late for a timer by this much."""

    seconds: float


class TargetReached(Fact, frozen=True, tag=True):
    iteration: int
    test_accuracy: float
    target: float


class PeerStopped(Fact, frozen=True, tag=True):
    """The last fact of a peer's life. `reason`: finished, target_reached, budget_reached (one more update would cost
    more privacy than it may), left (asked to), error."""

    reason: Literal["finished", "target_reached", "budget_reached", "left", "error"]
    iteration: int
    detail: str


AnyFact = (
    PeerStarted
    | ShardClaimed
    | ViewChanged
    | IterationStarted
    | LocalUpdateFinished
    | Distilled
    | WaitEnded
    | GroupAgreed
    | GroupFinished
    | VectorSketched
    | CellTakenOver
    | ResultSuperseded
    | Evaluated
    | IterationFinished
    | IterationSkipped
    | PeerSeen
    | MergeAgreed
    | PeersCounted
    | UplinkMeasured
    | ConnectionRefused
    | RemoteFault
    | DatagramRejected
    | DhtLookedUp
    | DhtPublished
    | StateFetched
    | StateSaved
    | StateNotSaved
    | StateResumed
    | StateRejected
    | PrivacySpent
    | LoopLagged
    | TargetReached
    | PeerStopped
)

Sink = Callable[[Fact], None]
"""Receives every fact at the moment it is emitted, on the event loop: it must return at once and must not raise."""


def encode_fact(fact: Fact) -> bytes:
    """One line of JSON without its newline."""
    return msgspec.json.encode(fact)


def decode_fact(line: bytes) -> AnyFact:
    """Raises: msgspec.DecodeError for anything that `encode_fact` did not write."""
    fact: AnyFact = msgspec.json.decode(line, type=AnyFact)
    return fact
