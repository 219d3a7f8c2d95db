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


def test_scenario_with_a_value_that_cannot_be_says_so() -> None:
    with pytest.raises(ConfigError, match="exchange"):
        Scenario(seed=1, exchange="carrier-pigeon").settings()
