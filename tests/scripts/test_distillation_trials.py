"""The trials count what a peer sent until the target was reached, in runs of the peers' own code."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from marfl_peer.facts import Distilled, Evaluated, IterationFinished

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("distillation_trials")


def evaluated(iteration: int, correct: int) -> Evaluated:
    return Evaluated(iteration=iteration, correct=correct, seen=10, loss=None, scope="full")


def finished(iteration: int, tensor: int) -> IterationFinished:
    return IterationFinished(
        iteration=iteration,
        seconds=1.0,
        weight=1,
        projection=(),
        train_loss=None,
        evaluated_iteration=None,
        test_accuracy=None,
        test_loss=None,
        groups_complete=1,
        groups_partial=0,
        peers=2,
        bytes_sent={"tensor": tensor},
        dht_lookups=0,
    )


def distilled(iteration: int, teachers: tuple[str, ...]) -> Distilled:
    return Distilled(
        iteration=iteration,
        round=1,
        line=0,
        asked=1,
        candidates=1,
        teachers=teachers,
        divergence=None,
        follow=1.0,
        loss=None,
        bytes_received=0,
        seconds=0.0,
    )


def test_bytes_are_counted_a_peer_until_the_target_is_reached(trials: ModuleType) -> None:
    told = [
        *(finished(iteration, 4_000_000) for iteration in (1, 2, 3) for _ in range(2)),
        *(evaluated(iteration, correct) for iteration, correct in ((1, 4), (2, 6), (3, 7))),
        *(distilled(iteration, teachers) for iteration, teachers in ((1, ("a",)), (2, ()), (2, ("a",)), (3, ("a",)))),
    ]
    reached = trials.summed_up(5, told, peers=2, target=0.6)
    assert (reached.seed, reached.reached, reached.accuracy) == (5, 2, 0.6)
    assert (reached.megabytes, reached.lessons) == ({"tensor": 8.0}, 1.0)
    missed = trials.summed_up(5, told, peers=2, target=0.8)
    assert (missed.reached, missed.accuracy, missed.megabytes) == (None, 0.7, {"tensor": 12.0})


@pytest.mark.parametrize(
    ("text", "value"), [("2", 2), ("2.0", 2.0), ("true", True), ("int4", "int4"), ("dirichlet:1.0", "dirichlet:1.0")]
)
def test_values_of_settings_are_read(trials: ModuleType, text: str, value: object) -> None:
    assert trials.value_of(text) == value
    assert type(trials.value_of(text)) is type(value)


def test_trial_is_a_run_of_the_peers_own_code(trials: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["digits", "--peers", "4", "--iterations", "2", "--target", "1.0", "--seed", "3", "--set", "group_size=2"]
    told = []
    for more in ([], ["--set", "mkd_iterations=2"], ["--set", "mkd_iterations=2", "--set", "mkd_codec=int4"]):
        trials.main([*common, *more])
        told.append(json.loads(capsys.readouterr().out))
    plain, full, short = told
    assert [one["lessons"] for one in told] == [0.0, 4.0, 4.0]
    assert plain["megabytes"]["tensor"] < short["megabytes"]["tensor"] < full["megabytes"]["tensor"]
    assert plain["accuracy"] > 0.2
