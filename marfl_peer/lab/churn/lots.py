"""What is left to chance in a churn plan: which peers, and which instant of an aggregation.

Pure functions of a seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from marfl_peer.facts import Fact, GroupAgreed, GroupFinished, LocalUpdateFinished
from marfl_peer.lab.churn.plan import Chance, Choice, Count, Listed, Share


def lot(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but the parts."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def choose(choice: Choice, present: Sequence[int], *, seed: object, spare: bool = True) -> list[int]:
    """The chosen of the peers that are there, ascending. `spare`: one is left out if the choice is not of all."""
    ranked = sorted(present, key=lambda index: (lot(seed, index), index))
    match choice:
        case Share(share):
            chosen = ranked[: max(1, round(share * len(ranked)))]
            is_of_all = share >= 1
        case Count(count):
            chosen = ranked[:count]
            is_of_all = False
        case Listed(peers):
            chosen = [index for index in ranked if index in peers]
            is_of_all = True
        case Chance(probability):
            chosen = [index for index in ranked if lot(seed, index) < probability]
            is_of_all = probability >= 1
    return sorted(chosen if is_of_all or not spare else chosen[: max(0, len(ranked) - 1)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """An instant of a peer's aggregation: `delay` (0..1 of a round's time) after what begins its phase of a round.

    `exchanging`: the group has agreed and the vectors are on their way; else the peer waits for the others.
    """

    round: int
    exchanging: bool
    delay: float

    def begins_with(self, fact: Fact) -> bool:
        """Whether a peer that tells this, of the iteration in question, is in the instant's phase from now on."""
        match fact:
            case GroupAgreed():
                return self.exchanging and fact.round == self.round
            case LocalUpdateFinished():
                return not self.exchanging and self.round == 1
            case GroupFinished():
                return not self.exchanging and fact.round == self.round - 1
        return False


def draw_instant(rounds: int, *, seed: object) -> Instant:
    """Any phase of the rounds 1..`rounds`."""
    phase = int(lot(seed, "phase") * 2 * max(rounds, 1))
    return Instant(round=phase // 2 + 1, exchanging=phase % 2 == 1, delay=lot(seed, "delay"))
