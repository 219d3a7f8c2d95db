"""Where a peer is: its id, iteration, round and phase, followed from its facts. What log lines and `status` say of it.

Knows facts only.
"""

from __future__ import annotations

from marfl_peer.facts import (
    Fact,
    GroupAgreed,
    GroupFinished,
    IterationFinished,
    IterationStarted,
    LocalUpdateFinished,
    PeerStarted,
    PeerStopped,
    ViewChanged,
)


class Position:
    """A sink. `round` is None outside of the rounds of an iteration, `iteration` 0 before the first."""

    def __init__(self) -> None:
        self.peer_id: str | None = None
        self.iteration = 0
        self.round: int | None = None
        self.phase = "entering"
        self.rounds = 0
        """Of an iteration, as the grid has them; 0 where that is not known."""

    def __call__(self, fact: Fact) -> None:
        match fact:
            case PeerStarted():
                self.peer_id = fact.peer_id
            case ViewChanged():
                self.rounds = len(fact.grid)
            case IterationStarted():
                self.iteration, self.round, self.phase = fact.iteration, None, "training"
            case LocalUpdateFinished():
                self.round, self.phase = 1, "averaging"
            case GroupAgreed() if fact.iteration == self.iteration:
                self.round = fact.round
            case GroupFinished() if fact.iteration == self.iteration:
                self.round = min(fact.round + 1, max(fact.round, self.rounds))
            case IterationFinished():
                self.round, self.phase = None, "between iterations"
            case PeerStopped():
                self.round, self.phase = None, f"stopped: {fact.reason}"
            case _:
                pass
