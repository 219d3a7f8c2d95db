"""Who trains, and whose update is averaged, in an iteration of a swarm with partial participation.

A function of what all peers share, so that they agree without a word. Who is left out plays its cells with weight 0.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from enum import Enum
from fractions import Fraction

from marfl_peer.ids import PeerId


class Stage(Enum):
    """What a peer takes part in; peers are drawn for each stage on its own."""

    UPDATE = "update"
    AGGREGATE = "aggregate"


def participants(
    stage: Stage, members: Iterable[PeerId], *, seed: int, iteration: int, share: float
) -> tuple[PeerId, ...]:
    """The ceil(share * N) of N members with the lowest hashes for this iteration, ascending by id.

    `share` is in (0, 1]. Whoever takes part at one share does at any larger one.
    """
    # repr writes the number that was meant: 0.55 of 20 are 11, though 0.55 * 20 is more than that in floating point.
    everybody = sorted(members)
    count = math.ceil(Fraction(repr(share)) * len(everybody))
    drawn = sorted(everybody, key=lambda peer: _lot(stage, seed, iteration, peer))[:count]
    return tuple(sorted(drawn))


def _lot(stage: Stage, seed: int, iteration: int, peer: PeerId) -> bytes:
    return hashlib.sha256(f"participation/{stage.value}/{seed}/{iteration}/{peer}".encode()).digest()
