"""The table of accuracy against epsilon says what the runs came to."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from marfl_peer.learning.privacy.accountant import epsilon

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("privacy_curve")


def test_row_has_both_epsilons_as_told_and_by_loss_distribution(script: ModuleType) -> None:
    options = script.parser().parse_args(["--peers", "16", "--iterations", "30"])
    last = {"test_accuracy_mean": 0.9, "epsilon_mate": epsilon([(1.0, 30)], delta=1e-5), "epsilon_outsider": 6.8}
    assert script.row(options, 1.0, last) == "| 1 | 90.0 % | 39.8 (37.6) | 6.8 (6.3) |"


def test_run_without_noise_has_no_bound(script: ModuleType) -> None:
    options = script.parser().parse_args([])
    assert script.row(options, 0.0, {"test_accuracy_mean": 0.97}) == "| 0 | 97.0 % | no bound | no bound |"


def test_settings_are_those_of_the_options(script: ModuleType, tmp_path: Path) -> None:
    options = script.parser().parse_args(["--peers", "8", "--clip", "0.5", "--iterations", "7"])
    settings = script.settings_of(options, 0.2, tmp_path)
    assert (settings.dp_noise, settings.dp_clip, settings.shards, settings.evaluate_every) == (0.2, 0.5, 8, 7)
