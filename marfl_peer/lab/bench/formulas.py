"""How many bytes a peer sends in one iteration by the formulas of the schemes, and the fit of what was measured.

MAR-FL (arXiv 2512.05234) and the baselines that it compares itself with. S is the size of what is averaged, theta and
momentum in float32. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import correlation, linear_regression

import msgspec

from marfl_peer.lab.baselines import traffic
from marfl_peer.protocol.grid import Grid


class Formulas(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that a peer sends in an iteration, on average. `fedavg` is what a client and the server send for it: theta
    up and theta down, together as much as theta and momentum once. `ring`: one global all-reduce; `gossip`: one round
    of pairs; `random`: as many rounds of groups as MAR-FL has."""

    mar_fl: float
    rdfl: float
    ar_fl: float
    fedavg: float
    butterfly: float
    ring: float
    gossip: float
    random: float


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of all peers in an iteration = `bytes_a_peer_and_round` * N log_M N, by least squares; `largest_deviation`
    is that of a measured value from the fit, as a share of the fit."""

    bytes_a_peer_and_round: float
    largest_deviation: float


def formulas(peers: int, group_size: int, vector_bytes: int) -> Formulas:
    """For N peers in groups of M. On a grid that is not full the axes count as they are.

    MAR-FL as published: all-gather in every round, G (M-1) S. RDFL and AR-FL: every vector to everybody, (N-1) S.
    Butterfly in the same groups: G 2 (M-1)/M S. Ring: 2 (N-1)/N S.
    """
    shape = Grid.for_peers(peers, group_size).shape
    return Formulas(
        mar_fl=traffic.all_gather(shape) * vector_bytes,
        rdfl=traffic.everybody_to_everybody(peers) * vector_bytes,
        ar_fl=traffic.everybody_to_everybody(peers) * vector_bytes,
        fedavg=float(vector_bytes),
        butterfly=traffic.butterfly(shape) * vector_bytes,
        ring=traffic.up_and_down(peers) * vector_bytes,
        gossip=traffic.groups_by_lot(peers, traffic.PAIR) * vector_bytes,
        random=traffic.groups_by_lot(peers, group_size) * max(len(shape), 1) * vector_bytes,
    )


class LogFit(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a peer in an iteration = `bytes_fixed` + `bytes_a_round` * log_M N, by least squares; `r_squared` is the
    share of the variance that it explains."""

    bytes_a_round: float
    bytes_fixed: float
    r_squared: float


def log_fit(bytes_per_peer: Sequence[tuple[int, float]], group_size: int) -> LogFit | None:
    """The fit to log_M N of bytes a peer and iteration, of (number of peers, bytes); None for fewer than three
    numbers, through which a line always goes."""
    if len({peers for peers, _ in bytes_per_peer}) < 3:
        return None
    rounds, sent = [math.log(peers, group_size) for peers, _ in bytes_per_peer], [sent for _, sent in bytes_per_peer]
    slope, fixed = linear_regression(rounds, sent)
    explained = correlation(rounds, sent) ** 2 if len(set(sent)) > 1 else 1.0
    return LogFit(bytes_a_round=slope, bytes_fixed=fixed, r_squared=explained)


def fit(bytes_per_peer: Sequence[tuple[int, float]], group_size: int) -> Fit | None:
    """The fit to N log_M N of bytes a peer and iteration, of (number of peers, bytes); None for fewer than two
    numbers."""
    points = [(peers * math.log(peers, group_size), peers * sent) for peers, sent in bytes_per_peer]
    if len({peers for peers, _ in bytes_per_peer}) < 2:
        return None
    slope = sum(x * y for x, y in points) / sum(x * x for x, _ in points)
    deviation = max((abs(y / (slope * x) - 1.0) for x, y in points), default=0.0) if slope else 0.0
    return Fit(bytes_a_peer_and_round=slope, largest_deviation=deviation)
