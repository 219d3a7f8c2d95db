"""How far a peer is, from its own facts: what `status` shows."""

from __future__ import annotations

from marfl_peer.facts import (
    Fact,
    GroupFinished,
    IterationFinished,
    IterationStarted,
    LocalUpdateFinished,
    PeerStopped,
    PrivacySpent,
)

SPENT = ("epsilon_mate", "epsilon_outsider", "delta", "releases")
"""What is shown of `PrivacySpent`, where updates are private."""


class Progress:
    def __init__(self) -> None:
        self.iteration = 0
        self.phase = "entering"
        self.last: IterationFinished | None = None
        self.last_group: GroupFinished | None = None
        self.groups: dict[str, int] = {}
        self.spent: PrivacySpent | None = None

    def note(self, fact: Fact) -> None:
        """A sink."""
        match fact:
            case IterationStarted():
                self.iteration, self.phase = fact.iteration, "training"
            case LocalUpdateFinished():
                self.phase = "averaging"
            case GroupFinished():
                self.last_group = fact
                self.groups[fact.outcome] = self.groups.get(fact.outcome, 0) + 1
            case IterationFinished():
                self.last, self.phase = fact, "between iterations"
            case PrivacySpent():
                self.spent = fact
            case PeerStopped():
                self.phase = f"stopped: {fact.reason}"
            case _:
                pass

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        last, spent = self.last, self.spent
        return {
            "iteration": self.iteration,
            "phase": self.phase,
            "finished": 0 if last is None else last.iteration,
            "test_accuracy": None if last is None else last.test_accuracy,
            "train_loss": None if last is None else last.train_loss,
            "iteration_seconds": None if last is None else last.seconds,
            "group": [] if self.last_group is None else list(self.last_group.members),
            "groups": dict(self.groups),
            **({} if spent is None else {name: getattr(spent, name) for name in SPENT}),
        }
