"""From a scenario to the settings that all its peers share."""

from __future__ import annotations

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.lab.simulator.scenario import Scenario


def test_scenario_settings_name_the_run_and_wait_for_all_founders() -> None:
    settings = Scenario(seed=2**40 + 7, peers=12, group_size=3, iterations=4).settings()
    assert (settings.wait_for, settings.group_size, settings.iterations) == (12, 3, 4)
    assert settings.run_id == f"simulated-{2**40 + 7}"
    assert settings.seed == 7
    assert settings.shards >= 12


def test_scenario_that_tests_at_its_end_tests_everything_once() -> None:
    settings = Scenario(seed=1, iterations=9, tests_at_end=True, shards=11).settings()
    assert (settings.evaluate, settings.evaluate_every, settings.shards) == ("full", 9, 11)
    assert Scenario(seed=1, iterations=9).settings().evaluate_every == 1


def test_scenario_with_overlap_sets_it_for_the_run() -> None:
    assert Scenario(seed=1, overlap=True).settings().overlap
    assert not Scenario(seed=1).settings().overlap


def test_scenario_with_a_value_that_cannot_be_says_so() -> None:
    with pytest.raises(ConfigError, match="exchange"):
        Scenario(seed=1, exchange="carrier-pigeon").settings()
