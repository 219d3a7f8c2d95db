"""Testing the agreed state, and what is added up over all peers on the way through the rounds.

Every cell brings its sums, a round adds up its line's: after the last round everybody knows the swarm's training loss,
and its test accuracy under the state of the iteration before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from marfl_peer.config import Settings
from marfl_peer.facts import Evaluated, Sink
from marfl_peer.ids import Iteration
from marfl_peer.learning.trainer import Evaluation, LocalUpdate
from marfl_peer.peer.learner import Learner, ModelAtHand, finite_or_none
from marfl_peer.peer.roster import Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What is added up over all peers. The order of the fields is the order on the wire."""

    loss_sum: float = 0.0
    loss_samples: float = 0.0
    correct: float = 0.0
    seen: float = 0.0

    @classmethod
    def of(cls, row: tuple[float, ...]) -> Sums:
        loss_sum, loss_samples, correct, seen = (*row, 0.0, 0.0, 0.0, 0.0)[:4]
        return cls(loss_sum=loss_sum, loss_samples=loss_samples, correct=correct, seen=seen)

    def row(self) -> tuple[float, ...]:
        return (self.loss_sum, self.loss_samples, self.correct, self.seen)

    def without_loss(self) -> Sums:
        """What may leave a peer whose updates are private: tests on what everybody has."""
        return replace(self, loss_sum=0.0, loss_samples=0.0)

    @property
    def train_loss(self) -> float | None:
        """The sample-weighted mean loss of all local updates whose loss was finite."""
        return self.loss_sum / self.loss_samples if self.loss_samples else None

    @property
    def test_accuracy(self) -> float | None:
        return self.correct / self.seen if self.seen else None


class Evaluator:
    def __init__(self, *, settings: Settings, learner: Learner, roster: Roster, tell: Sink) -> None:
        self._settings, self._learner, self._roster, self._tell = settings, learner, roster, tell
        self._latest: Evaluation | None = None

    def is_due(self, iteration: int) -> bool:
        return iteration % self._settings.evaluate_every == 0

    async def evaluate(self, hand: ModelAtHand, iteration: Iteration, *, may_differ: bool) -> None:
        """Tests the state after `iteration`, which `hand` holds, on this peer's share of the test set.

        In full it is tested once for the swarm, by its lowest id, and by peers whose state `may_differ`.
        """
        scope: Literal["share", "full"] = "full" if self._settings.evaluate == "full" else "share"
        members = self._roster.view(iteration).members
        if scope == "full" and not may_differ and members and members[0] != self._roster.me:
            return
        evaluation = await self._learner.evaluate(hand, scope)
        if evaluation.seen == 0:
            return
        self._latest = evaluation
        loss = finite_or_none(evaluation.loss_sum / evaluation.seen)
        self._tell(
            Evaluated(iteration=iteration, correct=evaluation.correct, seen=evaluation.seen, loss=loss, scope=scope)
        )

    def sums(self, update: LocalUpdate | None) -> Sums:
        """What this peer brings to the next rounds; its latest test counts once."""
        evaluation, self._latest = self._latest, None
        loss = None if update is None else finite_or_none(update.loss)
        samples = 0 if update is None or loss is None else update.samples
        return Sums(
            loss_sum=(loss or 0.0) * samples,
            loss_samples=float(samples),
            correct=0.0 if evaluation is None else evaluation.correct,
            seen=0.0 if evaluation is None else float(evaluation.seen),
        )

    def forget(self) -> None:
        """The state that was tested is not the one that this peer goes on from."""
        self._latest = None
