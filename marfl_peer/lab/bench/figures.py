"""What comes out of a measurement: how long it took all together, medians, ratios. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Protocol

from marfl_peer.config import BY_LOT, Settings
from marfl_peer.errors import MarflError
from marfl_peer.lab.baselines.registry import SCHEMES
from marfl_peer.lab.baselines.traffic import vectors_sent
from marfl_peer.lab.bench.formulas import formulas
from marfl_peer.lab.bench.results import ScalingRun
from marfl_peer.lab.bench.words import Done
from marfl_peer.lab.tally import BYTE_KINDS
from marfl_peer.protocol.grid import Grid


class Counted(Protocol):
    """What one peer counted in one iteration: `Done` of a process, `IterationFinished` of a simulated peer."""

    @property
    def bytes_sent(self) -> Mapping[str, int]: ...
    @property
    def dht_lookups(self) -> int: ...
    @property
    def groups_partial(self) -> int: ...


def seconds_of(done: Sequence[Done]) -> float | None:
    """From the first that began to the last that had its result; None where one has none."""
    if any(one.failure for one in done):
        return None
    return max(one.ended for one in done) - min(one.began for one in done)


def median(seconds: Sequence[float]) -> float:
    """Of one or more."""
    return statistics.median(seconds)


def quartiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The first and the third, of one or more."""
    if len(seconds) == 1:
        return seconds[0], seconds[0]
    first, _, third = statistics.quantiles(seconds, n=4, method="inclusive")
    return first, third


def checked(done: Sequence[Done], what: str) -> float | None:
    """The largest error of any result; None where what must come out is not known.

    Raises: MarflError when a result is wrong, or not the same bits at all.
    """
    for one in done:
        if one.wrong:
            partial = groups_partial([done])
            why = f"; {partial} times a group was not complete: is the machine too busy?" if partial else ""
            raise MarflError(f"{what} came to a wrong mean: {one.wrong}{why}")
    are_equal(done, what)
    return max((one.error for one in done if one.error is not None), default=None)


def are_equal(done: Sequence[Done], what: str) -> None:
    """Raises: MarflError when not all came to the same bits."""
    if len({one.digest for one in done}) > 1:
        raise MarflError(f"{what} came to {len({one.digest for one in done})} different results: they must be equal")


def bytes_by_kind(repeats: Sequence[Sequence[Counted]]) -> dict[str, float]:
    """Bytes that a peer sent in one repeat, on average over peers and repeats."""
    all_done = [one for done in repeats for one in done]
    return {kind: statistics.fmean(one.bytes_sent.get(kind, 0) for one in all_done) for kind in BYTE_KINDS}


def counted(
    iterations: Sequence[Sequence[Counted]], *, settings: Settings, vector_bytes: int, is_simulated: bool = False
) -> ScalingRun:
    """A run of which nothing but counts is known: for every iteration, from the first on, those of all peers. Of
    `settings` the scheme and the group size count."""
    peers, sent = len(iterations[0]), bytes_by_kind(iterations)
    return ScalingRun(
        peers=peers,
        is_simulated=is_simulated,
        aggregation=settings.aggregation,
        group_size=settings.group_size,
        grid=_shape(settings, peers),
        iterations=len(iterations),
        bytes_sent_per_peer_per_iteration=sum(sent.values()),
        bytes_sent=sent,
        bytes_sent_first_iteration=bytes_by_kind(iterations[:1]),
        bytes_sent_last_iteration=bytes_by_kind(iterations[-1:]),
        dht_lookups_per_peer_per_iteration=statistics.fmean(one.dht_lookups for done in iterations for one in done),
        groups_partial=groups_partial(iterations),
        formulas=formulas(peers, settings.group_size, vector_bytes),
        scheme_bytes_per_peer_per_iteration=vectors_sent(settings, peers=peers) * vector_bytes,
    )


def _shape(settings: Settings, peers: int) -> tuple[int, ...]:
    if settings.aggregation in BY_LOT:
        return ()
    return Grid.for_peers(peers, SCHEMES[settings.aggregation].group_size(settings)).shape


def tensor_bytes(repeats: Sequence[Sequence[Done]]) -> list[float]:
    """That each member sent in one repeat, on average over repeats."""
    return [statistics.fmean(one.bytes_sent.get("tensor", 0) for one in own) for own in zip(*repeats, strict=True)]


def uplinks(repeats: Sequence[Sequence[Done]]) -> list[float]:
    """Bits a second that each member had measured of its uplink at the end; 0 where it had measured nothing."""
    return [8 * one.uplink_bytes_per_s for one in repeats[-1]]


def all_seconds(repeats: Sequence[Sequence[Done]]) -> list[float]:
    """Of the repeats that came to something."""
    return [seconds for done in repeats if (seconds := seconds_of(done)) is not None]


def call_seconds(repeats: Sequence[Sequence[Done]]) -> list[float]:
    """The slowest member's whole call, of every repeat."""
    return [max(one.call_s for one in done) for done in repeats]


def cpu_seconds(repeats: Sequence[Sequence[Done]]) -> list[float]:
    """Processor time of all members together, of every repeat."""
    return [sum(one.cpu_s for one in done) for done in repeats]


def groups_partial(repeats: Sequence[Sequence[Counted]]) -> int:
    """Groups in which somebody was missing, as their members count them: one that three were in counts three times."""
    return sum(one.groups_partial for done in repeats for one in done)
