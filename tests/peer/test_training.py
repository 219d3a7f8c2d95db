"""Iterations of a peer that is alone: what it tests, saves and tells, and when the run is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from marfl_peer.config import Settings
from marfl_peer.facts import (
    Evaluated,
    Fact,
    IterationFinished,
    LocalUpdateFinished,
    PeerStopped,
    StateSaved,
    TargetReached,
)
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.peer import entrance as entrance_module
from marfl_peer.peer.peer import Peer
from marfl_peer.peer.store import load_state


@pytest.fixture(scope="module")
def data() -> TaskData:
    return Digits().load(None)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance_module, "POLL_S", 0.02)


async def until(condition: Callable[[], bool]) -> None:
    """Looks again at every turn of the loop; the run's own time limit ends it."""
    while not condition():  # noqa: ASYNC110 - what is awaited has no event, and is there in a turn or two
        await asyncio.sleep(0.001)


class Alone:
    """One peer that is the whole swarm, and what it told."""

    def __init__(self, folder: Path, data: TaskData, **settings: object) -> None:
        given = {"shards": 1, "local_steps": 2, "iterations": 4, **settings}
        self.settings = Settings(host="127.0.0.1", port=0, state_dir=folder).adopt(given)
        self.facts: list[Fact] = []
        self.peer = Peer(self.settings, Digits(), data=data, sinks=(self.facts.append,))

    def told(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def live(self) -> PeerStopped:
        async with self.peer as peer:
            return await peer.run()


def test_accuracy_that_is_told_is_that_of_the_state_before(on_loop, tmp_path: Path, data: TaskData) -> None:
    alone = Alone(tmp_path, data)
    assert on_loop(alone.live()).reason == "finished"
    evaluated = {fact.iteration: fact for fact in alone.told(Evaluated)}
    assert sorted(evaluated) == [1, 2, 3, 4]
    finished = alone.told(IterationFinished)
    assert (finished[0].evaluated_iteration, finished[0].test_accuracy) == (None, None)
    for fact in finished[1:]:
        before = evaluated[fact.iteration - 1]
        assert fact.evaluated_iteration == fact.iteration - 1
        assert fact.test_accuracy == pytest.approx(before.correct / before.seen)
    for fact, update in zip(finished, alone.told(LocalUpdateFinished), strict=True):
        assert fact.train_loss == pytest.approx(update.loss)
        assert fact.bytes_sent["tensor"] == 0, "there is nobody to send to"


def test_evaluation_every_other_iteration_is_told_where_there_is_one(on_loop, tmp_path: Path, data: TaskData) -> None:
    alone = Alone(tmp_path, data, evaluate_every=2, iterations=5)
    on_loop(alone.live())
    assert [fact.iteration for fact in alone.told(Evaluated)] == [2, 4, 5]
    told = [fact.evaluated_iteration for fact in alone.told(IterationFinished)]
    assert told == [None, None, 2, None, 4]


def test_state_is_saved_as_often_as_told_and_at_the_end(on_loop, tmp_path: Path, data: TaskData) -> None:
    alone = Alone(tmp_path, data, save_every=3, iterations=5)
    on_loop(alone.live())
    assert [fact.iteration for fact in alone.told(StateSaved)] == [3, 5]
    tensors, manifest = load_state(tmp_path)
    assert (manifest.iteration, manifest.run_id, manifest.task) == (5, "default", "digits")
    assert "model/dense.weight" in tensors


def test_run_is_over_when_the_target_is_reached(on_loop, tmp_path: Path, data: TaskData) -> None:
    alone = Alone(tmp_path, data, target_accuracy=0.01, iterations=30)
    stopped = on_loop(alone.live())
    assert (stopped.reason, stopped.iteration) == ("target_reached", 2)
    (reached,) = alone.told(TargetReached)
    assert reached.iteration == 2
    assert reached.test_accuracy >= reached.target == 0.01


def test_run_that_reaches_its_target_ends_with_what_was_agreed_on_not_with_what_was_trained_beside_it(
    on_loop, tmp_path: Path, data: TaskData
) -> None:
    alone = Alone(tmp_path, data, target_accuracy=0.01, iterations=30, overlap=True)
    stopped = on_loop(alone.live())
    assert (stopped.reason, stopped.iteration) == ("target_reached", 2)
    assert [fact.iteration for fact in alone.told(LocalUpdateFinished)] == [1, 2]
    saved, manifest = load_state(tmp_path)
    assert manifest.iteration == 2
    for name, tensor in alone.peer.model.state_dict().items():
        assert torch.equal(saved[f"model/{name}"], tensor)


def test_accuracy_and_saved_states_are_those_of_what_was_agreed_on(on_loop, tmp_path: Path, data: TaskData) -> None:
    """Who is alone learns the same with and without overlap, and tells the same of it."""
    told = []
    for overlap in (False, True):
        alone = Alone(tmp_path / str(overlap), data, overlap=overlap)
        on_loop(alone.live())
        evaluated = [(fact.iteration, fact.correct, fact.loss) for fact in alone.told(Evaluated)]
        finished = [(fact.iteration, fact.test_accuracy, fact.projection) for fact in alone.told(IterationFinished)]
        tensors, manifest = load_state(tmp_path / str(overlap))
        saved = {name: tensor.tolist() for name, tensor in tensors.items()}
        told.append((evaluated, finished, saved, manifest.epoch, manifest.offset))
        assert {fact.iteration for fact in alone.told(StateSaved)} >= {4}
    assert told[0] == told[1]


@pytest.mark.parametrize("overlap", [False, True])
def test_stop_in_the_middle_ends_the_run_at_once(on_loop, tmp_path: Path, data: TaskData, overlap: bool) -> None:
    alone = Alone(tmp_path, data, iterations=100_000, overlap=overlap)

    async def main() -> PeerStopped:
        async with alone.peer as peer:
            running = asyncio.create_task(peer.run())
            await until(lambda: alone.told(IterationFinished))
            peer.leave()
            return await running

    stopped = on_loop(main())
    assert stopped.reason == "left"
    assert stopped.iteration < 100_000


def test_stop_before_the_run_ends_it_before_it_begins(on_loop, tmp_path: Path, data: TaskData) -> None:
    alone = Alone(tmp_path, data)
    alone.peer.leave()
    stopped = on_loop(alone.live())
    assert (stopped.reason, stopped.iteration) == ("left", 0)
    assert alone.told(IterationFinished) == []
