from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from torch import nn

from marfl_peer.config import Settings
from marfl_peer.facts import Evaluated, Fact
from marfl_peer.ids import Iteration
from marfl_peer.learning.trainer import Evaluation, LocalUpdate
from marfl_peer.peer.evaluation import Evaluator, Sums
from marfl_peer.peer.learner import Learner, ModelAtHand
from marfl_peer.peer.roster import Roster

ME, LOWER = "b" * 40, "a" * 40
HAND = ModelAtHand(nn.Linear(1, 1), None)


class Examiner:
    """A learner that only tests, and remembers what it was asked."""

    def __init__(self, seen: int = 10) -> None:
        self.asked: list[str] = []
        self._seen = seen

    async def evaluate(self, hand: ModelAtHand, scope: str) -> Evaluation:
        self.asked.append(scope)
        return Evaluation(correct=0.7 * self._seen, seen=self._seen, loss_sum=2.0 * self._seen)


def evaluator_of(
    tester: Examiner, facts: list[Fact], *, members: tuple[str, ...] = (ME,), **settings: object
) -> Evaluator:
    roster = SimpleNamespace(me=ME, view=lambda iteration: SimpleNamespace(members=members))
    return Evaluator(
        settings=Settings(**settings),  # type: ignore[arg-type]
        learner=cast(Learner, tester),
        roster=cast(Roster, roster),
        tell=facts.append,
    )


def test_evaluation_is_told_and_counts_once_in_the_sums() -> None:
    facts: list[Fact] = []
    evaluator = evaluator_of(Examiner(), facts)
    asyncio.run(evaluator.evaluate(HAND, Iteration(3), may_differ=False))
    assert facts == [Evaluated(iteration=3, correct=7.0, seen=10, loss=2.0, scope="share")]
    update = LocalUpdate(loss=0.5, batches=2, samples=20)
    assert evaluator.sums(update) == Sums(loss_sum=10.0, loss_samples=20.0, correct=7.0, seen=10.0)
    assert evaluator.sums(None) == Sums()


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_stays_out_of_the_mean(loss: float) -> None:
    evaluator = evaluator_of(Examiner(), [])
    assert evaluator.sums(LocalUpdate(loss=loss, batches=2, samples=20)) == Sums()


def test_full_evaluation_is_done_by_the_lowest_id_and_by_who_may_differ() -> None:
    tester, facts = Examiner(), cast(list[Fact], [])
    evaluator = evaluator_of(tester, facts, members=(LOWER, ME), evaluate="full")
    asyncio.run(evaluator.evaluate(HAND, Iteration(1), may_differ=False))
    assert tester.asked == []
    asyncio.run(evaluator.evaluate(HAND, Iteration(1), may_differ=True))
    lowest = evaluator_of(tester, facts, members=(ME, "c" * 40), evaluate="full")
    asyncio.run(lowest.evaluate(HAND, Iteration(1), may_differ=False))
    assert tester.asked == ["full", "full"]


def test_peer_without_test_samples_tells_nothing() -> None:
    facts: list[Fact] = []
    evaluator = evaluator_of(Examiner(seen=0), facts)
    asyncio.run(evaluator.evaluate(HAND, Iteration(1), may_differ=False))
    assert facts == []
    assert evaluator.sums(None) == Sums()


def test_forgotten_evaluation_is_not_summed() -> None:
    evaluator = evaluator_of(Examiner(), [])
    asyncio.run(evaluator.evaluate(HAND, Iteration(1), may_differ=False))
    evaluator.forget()
    assert evaluator.sums(None) == Sums()


def test_evaluation_is_due_every_so_many_iterations() -> None:
    evaluator = evaluator_of(Examiner(), [], evaluate_every=3)
    assert [iteration for iteration in range(1, 8) if evaluator.is_due(iteration)] == [3, 6]


def test_sums_without_samples_have_no_mean() -> None:
    assert (Sums().train_loss, Sums().test_accuracy) == (None, None)
    sums = Sums(loss_sum=3.0, loss_samples=2.0, correct=1.0, seen=4.0)
    assert (sums.train_loss, sums.test_accuracy) == (1.5, 0.25)


def test_sums_go_over_the_wire_and_back() -> None:
    sums = Sums(loss_sum=1.5, loss_samples=2.0, correct=3.0, seen=4.0)
    assert Sums.of(sums.row()) == sums


def test_sums_of_another_length_are_cut_or_filled_up() -> None:
    assert Sums.of((1.0,)) == Sums(loss_sum=1.0)
    assert Sums.of((1.0, 2.0, 3.0, 4.0, 5.0)) == Sums(loss_sum=1.0, loss_samples=2.0, correct=3.0, seen=4.0)


def test_sums_without_loss_keep_the_test() -> None:
    sums = Sums(loss_sum=3.0, loss_samples=2.0, correct=5.0, seen=6.0)
    assert sums.without_loss() == Sums(correct=5.0, seen=6.0)
    assert sums.without_loss().train_loss is None
