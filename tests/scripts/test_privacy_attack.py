"""The attack finds noise that is too small, and does not find more than is stated where it is right."""

from __future__ import annotations

import importlib
import math
import random
from pathlib import Path
from types import ModuleType

import pytest

from marfl_peer.learning.privacy.mechanism import Mechanism

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("privacy_attack")


def test_attack_stays_below_what_is_stated(script: ModuleType) -> None:
    (found,) = script.attack(4.0, iterations=30, seed=1, together=[1])
    assert found.shown <= found.tight <= found.stated < 1.2


def test_attack_catches_noise_that_is_too_small(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if mates saw a hundredth of the noise that is accounted for."""
    monkeypatch.setattr(Mechanism, "update_noise", property(lambda self: self.noise / 100))
    (found,) = script.attack(4.0, iterations=30, seed=1, together=[1])
    assert found.shown > found.stated


def test_scores_that_tell_nothing_show_nothing(script: ModuleType) -> None:
    drawn = random.Random(1)
    scores = [drawn.gauss(0, 1) for _ in range(800)]
    assert script.least_epsilon(scores[:400], scores[400:], delta=1e-5) < 0.5


def test_scores_of_a_known_epsilon_show_less_than_it_and_much_of_it(script: ModuleType) -> None:
    """Randomised response: 1 with probability e / (1 + e) or 1 / (1 + e) has an epsilon of exactly 1."""
    drawn, share = random.Random(2), math.e / (1 + math.e)
    with_data = [float(drawn.random() < share) for _ in range(4000)]
    without = [float(drawn.random() >= share) for _ in range(4000)]
    assert 0.7 < script.least_epsilon(with_data, without, delta=0.0) <= 1.0


@pytest.mark.parametrize(("count", "trials"), [(0, 10), (3, 10), (10, 10)])
def test_bounds_of_a_rate_enclose_it(script: ModuleType, count: int, trials: int) -> None:
    lowest, highest = (script._rate(count, trials, highest=highest) for highest in (False, True))
    assert 0.0 <= lowest <= count / trials <= highest <= 1.0
    assert highest - lowest > 0.2
