"""What the link trial makes of journals, and of what it is told; the trial itself needs root and minutes."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from marfl_peer.facts import Fact, GroupFinished, IterationFinished, UplinkMeasured, encode_fact
from marfl_peer.learning.tasks.registry import load_task

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("link_trial")


def finished(iteration: int, *, sent: int = 100, model: float = 1.0, peers: int = 2) -> IterationFinished:
    return IterationFinished(
        iteration=iteration,
        seconds=9.0,
        weight=2,
        projection=(model,),
        train_loss=None,
        evaluated_iteration=None,
        test_accuracy=None,
        test_loss=None,
        groups_complete=1,
        groups_partial=0,
        peers=peers,
        bytes_sent={"tensor": sent, "control": 7},
        dht_lookups=0,
    )


def exchanged(iteration: int, seconds: float) -> GroupFinished:
    return GroupFinished(
        iteration=iteration,
        round=1,
        line=0,
        outcome="complete",
        attempts=1,
        members=("a", "b"),
        absent=0,
        seconds=seconds,
        ballot=(1, "a"),
        weight=2,
    )


def figures(trial: ModuleType, folder: Path, iterations: int, *stories: tuple[Fact, ...]) -> Any:
    journals = []
    for index, told in enumerate(stories):
        path = folder / f"{index}.jsonl"
        path.write_bytes(b"".join(b'{"at":1.0,' + encode_fact(fact)[1:] + b"\n" for fact in told))
        journals.append(trial.Journal(path))
        journals[-1].read()
    return trial.figures_of(journals, iterations)


def test_first_iteration_does_not_count_and_the_last_peer_to_have_the_mean_does(
    trial: ModuleType, tmp_path: Path
) -> None:
    fast = [fact for i in (1, 2, 3, 4) for fact in (exchanged(i, 0.1 * i), finished(i, sent=500))]
    slow = [fact for i in (1, 2, 3, 4) for fact in (exchanged(i, 10.0 * i), finished(i, sent=100 * i))]
    rates = (UplinkMeasured(bytes_per_s=8.0), UplinkMeasured(bytes_per_s=2.5))
    told = figures(trial, tmp_path, 4, tuple(fast), (*rates, *slow))
    assert told == trial.Figures(seconds=30.0, slow_bytes=300, rates=(0.0, 2.5), complaints=())


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ((finished(1), finished(2, model=2.0)), "models differ after iteration 2"),
        ((finished(1),), "models differ after iteration 2"),
        ((finished(1), finished(2, peers=1)), "not all peers were in iteration 2"),
    ],
)
def test_what_went_wrong_is_said(trial: ModuleType, tmp_path: Path, other: tuple[Fact, ...], complaint: str) -> None:
    assert complaint in figures(trial, tmp_path, 2, (finished(1), finished(2)), other).complaints


def test_peers_move_the_vector_by_different_amounts(trial: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trial.FLOATS_NAME, "20")
    monkeypatch.setenv(trial.PEERS_NAME, "4")
    task = load_task("link_trial:task", folder=SCRIPTS)
    data, model = task.load(None), task.build_model()
    assert sum(parameter.numel() for parameter in model.parameters()) == 10
    moves = []
    for inputs, label in zip(data.train_inputs, data.train_labels, strict=True):
        model.zero_grad()
        task.loss(model(task.prepare(inputs.unsqueeze(0))), label).backward()
        moves.append([float(parameter.grad.sum()) for parameter in model.parameters() if parameter.grad is not None])
    assert len({tuple(move) for move in moves}) == len(moves) == 4
    assert torch.equal(data.train_inputs, data.test_inputs)


def test_star_that_cannot_be_built_leaves_nothing(trial: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []

    def run(*command: str) -> None:
        ran.append(command)
        if "tc" in command:
            raise subprocess.CalledProcessError(1, command)

    deleted: list[str] = []
    monkeypatch.setattr(trial, "run", run)
    monkeypatch.setattr(trial.subprocess, "run", lambda command, **_: deleted.append(command[-1]))
    with pytest.raises(subprocess.CalledProcessError), trial.Star("x", [200.0, 20.0]):
        raise AssertionError("it was built")
    added = [command[-1] for command in ran if command[:3] == ("ip", "netns", "add")]
    assert set(added) <= set(deleted)
    assert added


@pytest.mark.skipif(shutil.which("tc") is None, reason="needs iproute2")
def test_shaping_is_a_command_that_tc_understands(trial: ModuleType) -> None:
    """Of a device that is not there tc says so only after it has read the whole command."""
    command = trial.shaping("nowhere0", 200.0)
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 'Cannot find device "nowhere0"' in told.stderr
