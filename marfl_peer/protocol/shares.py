"""How much of the vector each member of a butterfly owns, where one of them has a much slower link than the others.

Of a vector of size 1 a member that owns c of it sends 1 - c and (M - 1) c, and receives as much: 1 + (M - 2) c in all;
less, where some bring no weight.
The exchange is over with the last member: who has a slow link owns less, or nothing, and the others share what that
leaves. The load balancing of hivemind (Moshpit SGD, arXiv 2103.03239), for chunks that are summed as they come.

The leader says the shares in thousandths, and everybody cuts the vector alike. As long as nobody is much slower it says
nothing, and chunks are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import median_high

from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.protocol.messages import WHOLE, Propose
from marfl_peer.protocol.speeds import STEPS_A_DOUBLING, rate_of

GRAIN_FLOATS = 1024
"""Unequal chunks begin at multiples of it: a page."""


def fill(rates: Sequence[float]) -> tuple[float, ...]:
    """The parts of a vector of size 1 that members with links of these rates, all above 0, own: such that the last of
    them is done as early as can be, and else as equal as that allows."""
    count = len(rates)
    if count < 3:
        return (1 / count,) * count  # each sends and receives all of it, whoever owns what
    seconds = max(_shortest(rates), 1 / min(rates))
    parts, left = [0.0] * count, 1.0
    for done, member in enumerate(sorted(range(count), key=rates.__getitem__)):
        most = max(0.0, seconds * rates[member] - 1) / (count - 2)
        parts[member] = min(most, left / (count - done))
        left -= parts[member]
    return tuple(parts)


def _shortest(rates: Sequence[float]) -> float:
    """When the owners of the vector are done if all of them end together, and nobody else owns any of it."""
    count, owners, total, seconds = len(rates), 0, 0.0, 0.0
    for rate in sorted(rates, reverse=True):
        with_it = (count - 2 + owners + 1) / (total + rate)
        if with_it * rate <= 1:
            break
        owners, total, seconds = owners + 1, total + rate, with_it
    return seconds


def shares_of(speeds: Sequence[int]) -> tuple[int, ...]:
    """What members with links on these steps (0: not known) own, in thousandths; () for equal chunks: where nobody's is
    slower than half of the median."""
    known = [speed for speed in speeds if speed]
    if len(speeds) < 3 or not known:
        return ()
    usual = median_high(known)
    if min(known) >= usual - STEPS_A_DOUBLING:
        return ()
    parts = fill([rate_of(speed or usual) for speed in speeds])
    cuts = [*(round(WHOLE * reached) for reached in accumulate(parts[:-1], initial=0.0)), WHOLE]
    return tuple(stop - start for start, stop in pairwise(cuts))


def shares_around(listen: Sequence[bool]) -> tuple[int, ...]:
    """The same where several members only dial, and so cannot reach each other: they own nothing, and then have nothing
    for each other. The others sum for them, equal parts. () where that is not needed, or nobody listens."""
    owners = sum(listen)
    if len(listen) - owners < 2 or not owners:
        return ()
    cuts = [WHOLE * reached // owners for reached in accumulate(map(int, listen), initial=0)]
    return tuple(stop - start for start, stop in pairwise(cuts))


def cut(length: int, shares: Sequence[int]) -> tuple[int, ...]:
    """Where the chunks of a vector of `length` floats begin, and its end."""
    return (0, *(_place(length, reached) for reached in accumulate(shares)))


def _place(length: int, reached: int) -> int:
    if reached == WHOLE:
        return length  # whoever comes after it owns nothing, not the rest of a page
    nearest = (2 * reached * length + WHOLE * GRAIN_FLOATS) // (2 * WHOLE * GRAIN_FLOATS)
    return min(length, nearest * GRAIN_FLOATS)


def check_shares(proposal: Propose, kind: ExchangeKind) -> None:
    """Raises: RemoteProtocolError for shares that no leader of this release proposes."""
    shares = proposal.shares
    if not shares:
        return
    if kind != "butterfly" or proposal.base:
        raise RemoteProtocolError("bad_shares", "chunks of unequal size where all are equal")
    if len(shares) != len(proposal.members) or sum(shares) != WHOLE:
        text = f"{len(shares)} shares of {sum(shares)} thousandths for {len(proposal.members)} members"
        raise RemoteProtocolError("bad_shares", text)
