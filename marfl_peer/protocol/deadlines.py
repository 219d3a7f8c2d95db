"""How long anything may wait. All functions are pure; times are seconds.

A slow peer is awaited, a silent one is not (see `silence_s`). Waiting is bounded a round: D_g = start + patience +
g * allowance. Gathering members ends half an allowance before D_g, so that the exchange itself ends by D_g; the next
round gathers until half an allowance after D_g, so a delay in round g excludes nobody in round g + 1.

A leader that does not propose then is replaced (see `lateness`): called late a step after that, three eighths of an
allowance before D_g; replaced and proposed by a quarter before it. That is half of what an exchange has else.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import median

HEARTBEAT_S = 1.0
MISSED_HEARTBEATS = 3
MIN_PATIENCE_S = 10.0
ROUND_OVERHEAD_S = 2.0
SMALL_GROUP = 8
"""So many members a group may have without more overhead: a peer speaks with each of the others."""
LARGE_GROUP = 16
"""So many it may have before one that is busy with all others is given more time to say something, and says that it
lives less often."""
DIAL_S = 2.0
HANDSHAKE_S = 5.0


def crowding(company: int) -> float:
    """How many times as many members as a group may have without anything of this a group of `company` has, at least
    once."""
    return max(1.0, company / LARGE_GROUP)


def handshake_s(lag_s: float, *, company: int = 1) -> float:
    """So long one that is dialled awaits the other's part of a handshake. In a large group it has many at a time, and
    so has the other, which must not be the first to believe in the connection."""
    return HANDSHAKE_S * crowding(company) + 2 * lag_s


def heartbeat_s(company: int) -> int:
    """How often a peer whose largest group has `company` members says that it lives, in whole seconds. Where all speak
    with all each second, 125 processes do little else on two processors."""
    return int(HEARTBEAT_S * crowding(company))


def silence_s(lag_s: float, *, company: int = 1, every_s: float = HEARTBEAT_S) -> float:
    """A peer that was silent for this long is lost. Our own loop's lag is no silence of theirs, and theirs is likely to
    be like ours: where many share a machine all are late. In a large group (`company` members) one is busy with all
    others at once, as its leader or server is, and may be late alone. `every_s`: how often it said that it would say
    something."""
    return MISSED_HEARTBEATS * max(HEARTBEAT_S * crowding(company), every_s) + 2 * lag_s


def arrival_s(lag_s: float) -> float:
    """How long the connection of a peer that only dials is awaited: it may find out that the last one broke by nothing
    but silence, and has to dial then."""
    return silence_s(lag_s) + HEARTBEAT_S + DIAL_S


def patience_s(update_times_s: Sequence[float]) -> float:
    """How long after the first arrival a slow local update is still awaited."""
    return max(MIN_PATIENCE_S, 2 * median(update_times_s)) if update_times_s else MIN_PATIENCE_S


def overhead_s(members: int) -> float:
    """What a round may take besides its bytes in groups of up to `members`: connections, handshakes and messages are
    with each of the others. On one machine that is a square of them in all, which shows in large groups."""
    return ROUND_OVERHEAD_S * max(1.0, members / SMALL_GROUP) * sqrt(crowding(members))


def allowance_s(vector_bytes: int, slowest_link_bytes_per_s: float, *, members: int = 1) -> float:
    """What a round may take besides patience: each member sends about twice the vector, four times is generous."""
    return overhead_s(members) + 4 * 2 * vector_bytes / slowest_link_bytes_per_s


def gather_deadline(start: float, round: int, patience: float, allowance: float) -> float:
    """Until when a leader waits for members of round g."""
    return start + patience + (round - 0.5) * allowance


def lateness_step_s(allowance: float) -> float:
    """How long members hear each other out before they go on without somebody: a round trip, generously."""
    return allowance / 8


def round_deadline(start: float, round: int, patience: float, allowance: float) -> float:
    """D_g: when a member stops waiting for the result of round g and goes on with what it has."""
    return start + patience + round * allowance


def lesson_allowance_s(bytes_received: int, slowest_link_bytes_per_s: float, update_s: float) -> float:
    """What a round of distillation may take besides patience: the models of all mates on the slowest link, and the
    steps on them, which take about twice as long as a local update; twice that is generous."""
    return ROUND_OVERHEAD_S + 2 * bytes_received / slowest_link_bytes_per_s + 4 * update_s


def distilling_s(rounds: int, patience: float, allowance: float) -> float:
    """By how much longer the aggregation awaits who may be held up in all rounds of distillation before it."""
    return patience + rounds * allowance if rounds else 0.0
