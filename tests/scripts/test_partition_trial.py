"""The partition trial's verdict sees what went wrong; the trial itself needs root and minutes."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from marfl_peer.facts import Fact, IterationFinished, MergeAgreed, StateFetched, encode_fact

SCRIPTS = Path(__file__).parents[2] / "scripts"
HEALED = 100.0
MERGE = MergeAgreed(iteration=12, own_iteration=9, other_iteration=5)


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("partition_trial")


def finished(iteration: int, peers: int, *, weight: int = 40, model: float = 1.0) -> IterationFinished:
    return IterationFinished(
        iteration=iteration,
        seconds=0.1,
        weight=weight,
        projection=(model,),
        train_loss=None,
        evaluated_iteration=None,
        test_accuracy=None,
        test_loss=None,
        groups_complete=1,
        groups_partial=0,
        peers=peers,
        bytes_sent={},
        dht_lookups=0,
    )


def story(*late: tuple[float, Fact]) -> list[tuple[float, Fact]]:
    """One peer of two: it founds, goes on alone, and is healed."""
    return [(1.0, finished(1, 2)), (90.0, finished(9, 1, weight=20)), *late]


GOOD = story((101.0, MERGE), (110.0, finished(12, 2)), (111.0, finished(13, 2)), (112.0, finished(14, 2)))


def verdict(trials: ModuleType, folder: Path, *stories: Iterable[tuple[float, Fact]]) -> Any:
    trial = trials.Trial(folder, None, len(stories), 1)
    for index, told in enumerate(stories):
        (folder / str(index)).mkdir()
        lines = [b'{"at":%.6f,' % at + encode_fact(fact)[1:] + b"\n" for at, fact in told]
        (folder / str(index) / "journal.jsonl").write_bytes(b"".join(lines) + b'{"at":113')
    for journal in trial.journals:
        journal.read()
    return trial._verdict(HEALED, (9, 5), [])


def test_swarm_that_became_one_holds(trials: ModuleType, tmp_path: Path) -> None:
    told = verdict(trials, tmp_path, GOOD, GOOD)
    assert told.complaints == ()
    assert (told.seconds, told.first_common) == (pytest.approx(10.0), 12)


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (story((101.0, MERGE)), "not one swarm"),
        (story((131.0, finished(12, 2)), (132.0, finished(14, 2))), "not one swarm"),
        (story((110.0, finished(12, 2, weight=20)), (112.0, finished(14, 2))), "weights"),
        (story((110.0, finished(12, 2)), (112.0, finished(14, 2, model=2.0))), "models differ"),
        (story((110.0, finished(12, 2)), (112.0, finished(13, 2))), "models differ"),
        (
            [*GOOD, (111.5, StateFetched(iteration=11, source="ab", sources=1, bytes_received=1, seconds=0.1))],
            "downloaded a state",
        ),
    ],
)
def test_what_went_wrong_is_said(
    trials: ModuleType, tmp_path: Path, other: list[tuple[float, Fact]], complaint: str
) -> None:
    told = verdict(trials, tmp_path, GOOD, other)
    assert any(complaint in text for text in told.complaints), told.complaints


def test_halves_that_never_met_are_no_swarm(trials: ModuleType, tmp_path: Path) -> None:
    told = verdict(trials, tmp_path, story((105.0, finished(15, 1))), story())
    assert told.seconds is None
    assert any("no iteration had all" in text for text in told.complaints)
