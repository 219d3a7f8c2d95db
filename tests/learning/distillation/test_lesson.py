"""A lesson on three classes of points: what it takes from its trainer, whom it learns from, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from marfl_peer.averaging.vector import VectorSchema, pack, unpack_
from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.ids import PeerId
from marfl_peer.learning.distillation.divergence import distance
from marfl_peer.learning.distillation.lesson import Lesson
from marfl_peer.learning.partition import split
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.classification import Classification
from marfl_peer.learning.trainer import Trainer

A, B, C = (PeerId(digit * 40) for digit in "abc")
ALWAYS = 1.0


class Points(Classification):
    """A normed, dropping model on 20 points of 4 numbers: all that can depend on more than theta."""

    name = "points"

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3))

    def load(self, data_dir: Path | None) -> TaskData:
        inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
        labels = torch.arange(20) % 3
        return TaskData(train_inputs=inputs, train_labels=labels, test_inputs=inputs, test_labels=labels)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs


class Flat(Points):
    """Its model gives one number a sample, and no dimension for classes."""

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))


def trainer(task: Points | None = None) -> Trainer:
    task = task or Points()
    settings = Settings(shards=1, batch_size=4, local_steps=3, lr=0.5)
    data = task.load(None)
    (shard,) = split(data.train_labels, data.test_labels, shards=1, scheme="iid", seed=0)
    return Trainer(task, data, shard, settings)


def schema_of(one: Trainer) -> VectorSchema:
    return VectorSchema.of(one.model, momentum=False)


def vector_of(one: Trainer) -> Tensor:
    vector = torch.empty(schema_of(one).length)
    pack(schema_of(one), one.model, None, vector)
    return vector


def lesson_of(one: Trainer, temperature: float = 3.0) -> Lesson:
    return Lesson(one, one.twin()[0], schema_of(one), temperature=temperature)


def moved(vector: Tensor, by: float, seed: int = 3) -> Tensor:
    return vector + by * torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed)).abs()


def test_lesson_takes_the_mini_batches_that_come_next_and_once_each() -> None:
    one, shadow = trainer(), trainer()
    lesson = lesson_of(one)
    seen = torch.cat(lesson._batches)
    assert torch.equal(seen, torch.cat(shadow.draw(5)))
    assert len(seen.unique()) == len(seen) == 20
    assert one.position == shadow.position
    assert (one.position.epoch, one.position.offset) == (1, 0)


def test_candidate_is_as_far_as_its_model_says() -> None:
    one = trainer()
    lesson, other = lesson_of(one, temperature=2.0), trainer()
    mine = [one.model.eval()(one.inputs(batch)).detach() for batch in lesson._batches]
    vector = moved(vector_of(one), 0.4)
    unpack_(schema_of(other), vector, other.model, None)
    theirs = [other.model.eval()(one.inputs(batch)).detach() for batch in lesson._batches]
    assert lesson.hear(A, vector)
    assert lesson.distances == {A: pytest.approx(distance(theirs, mine, temperature=2.0))}
    assert lesson.distances[A] > 0
    lesson.hear(B, vector_of(one))
    assert lesson.distances[B] == pytest.approx(0.0, abs=1e-6)


def test_hearing_leaves_the_student_as_it_is() -> None:
    one = trainer()
    before = vector_of(one)
    lesson_of(one).hear(A, moved(before, 1.0))
    assert torch.equal(vector_of(one), before)


def test_nearest_candidates_teach_whatever_the_order_they_came_in() -> None:
    results = []
    for order in ((A, B, C), (C, B, A)):
        one = trainer()
        near, middle, far = (moved(vector_of(one), by) for by in (0.05, 0.5, 3.0))
        lesson = lesson_of(one)
        for peer in order:
            assert lesson.hear(peer, {A: middle, B: far, C: near}[peer])
        learned = lesson.learn(share=0.7, follow=0.5)
        assert learned.teachers == (C, A)
        assert learned.distance == pytest.approx((lesson.distances[A] + lesson.distances[C]) / 2)
        assert learned.batches == 5
        results.append(vector_of(one))
    assert torch.equal(*results)


def test_equal_candidates_count_by_their_ids() -> None:
    one = trainer()
    lesson = lesson_of(one)
    for peer in (C, B):
        lesson.hear(peer, moved(vector_of(one), 0.1))
    assert lesson.learn(share=0.4, follow=1.0).teachers == (B,)


def test_student_comes_nearer_to_its_teacher() -> None:
    one = trainer()
    teacher = moved(vector_of(one), 1.0)
    before = lesson_of(one)
    before.hear(A, teacher)
    learned = before.learn(share=1.0, follow=1.0)
    assert learned.loss > 0
    one.restore(one.position.__class__())
    after = lesson_of(one)
    after.hear(A, teacher)
    assert after.distances[A] < before.distances[A]


def test_without_following_a_lesson_is_a_local_update_on_the_same_mini_batches() -> None:
    one = trainer()
    lesson = lesson_of(one)
    lesson.hear(A, moved(vector_of(one), 5.0))
    lesson.learn(share=1.0, follow=0.0)
    shadow = trainer()
    place = shadow.position
    shadow.model.train()
    with shadow.own_randomness("lesson", place):
        for batch in shadow.draw(5):
            shadow.step(batch)
    assert torch.allclose(vector_of(one), vector_of(shadow))
    assert torch.allclose(one.optimizer.momenta()[2], shadow.optimizer.momenta()[2])


def test_same_place_in_the_data_gives_the_same_lesson() -> None:
    """What a resumed peer needs: its model, its momentum and its place are all there is."""
    one, again = trainer(), trainer()
    one.local_update()
    unpack_(schema_of(one), vector_of(one), again.model, None)
    for mine, theirs in zip(again.optimizer.momenta(), one.optimizer.momenta(), strict=True):
        mine.copy_(theirs)
    again.restore(one.position)
    results = []
    for student in (one, again):
        lesson = lesson_of(student)
        lesson.hear(A, moved(torch.zeros(schema_of(student).length), 1.0))
        results.append((lesson.learn(share=1.0, follow=0.5), student.position, vector_of(student).tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("value", [float("nan"), 3e38])
def test_model_whose_outputs_are_not_finite_counts_for_nothing(value: float) -> None:
    one = trainer()
    lesson = lesson_of(one)
    assert not lesson.hear(A, torch.full((schema_of(one).length,), value))
    assert lesson.distances == {}
    assert lesson.hear(B, vector_of(one))


def test_lesson_that_is_to_stop_ends_before_its_next_step() -> None:
    one = trainer()
    lesson = lesson_of(one)
    lesson.hear(A, moved(vector_of(one), 1.0))
    answers = iter([False, False, True])
    assert lesson.learn(share=1.0, follow=1.0, should_stop=lambda: next(answers)).batches == 2


def test_model_without_classes_is_refused_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match="--mkd-iterations 0"):
        lesson_of(trainer(Flat()))
