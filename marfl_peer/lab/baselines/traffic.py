"""How many vectors a peer sends in an iteration, on average over the peers, by the formula of each scheme. Pure.

For N peers; frames, ballots and the DHT come on top. RDFL and AR-FL: every vector to everybody. FedAvg and the ring:
2 (N - 1) in all, however different their shares are. In a butterfly among s members 2 (s - 1) / s each.
MAR-FL (arXiv 2512.05234) and the baselines that it compares itself with.
"""

from __future__ import annotations

from itertools import pairwise

from marfl_peer.config import Exchange, Settings
from marfl_peer.lab.baselines.drawing import cuts_of
from marfl_peer.protocol.grid import Grid

PAIR = 2


def butterfly(shape: tuple[int, ...]) -> float:
    """In every round of a grid of that shape. On one that is not full the axes count as they are."""
    return sum(2 * (length - 1) / length for length in shape)


def all_gather(shape: tuple[int, ...]) -> float:
    """The same where everybody in a group sends to everybody: MAR-FL as published."""
    return float(sum(length - 1 for length in shape))


def everybody_to_everybody(peers: int) -> float:
    """RDFL, where others pass vectors on, and AR-FL, where each sends its own to all."""
    return float(peers - 1)


def up_and_down(peers: int) -> float:
    """FedAvg, with one of the peers as the server, and one ring of all."""
    return 2 * (peers - 1) / peers


def groups_by_lot(peers: int, size: int, *, exchange: Exchange = "butterfly") -> float:
    """In one round of groups that hold at most `size`, whose sizes differ by one at most."""
    sizes = [stop - start for start, stop in pairwise(cuts_of(peers, size))]
    return sum((2 if exchange == "butterfly" else length) * (length - 1) for length in sizes) / peers


def vectors_sent(settings: Settings, *, peers: int) -> float:
    """By the scheme of these settings, where values travel as they are."""
    size, exchange = settings.group_size, settings.exchange
    shape = Grid.for_peers(peers, size).shape
    match settings.aggregation:
        case "fedavg" | "ring":
            return up_and_down(peers)
        case "rdfl" | "ar":
            return everybody_to_everybody(peers)
        case "gossip":
            return groups_by_lot(peers, PAIR, exchange=exchange) * (settings.rounds or 1)
        case "random":
            return groups_by_lot(peers, size, exchange=exchange) * (settings.rounds or max(len(shape), 1))
        case _:
            return butterfly(shape) if exchange == "butterfly" else all_gather(shape)
