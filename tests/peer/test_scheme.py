"""The seam between a peer and its scheme."""

from __future__ import annotations

import dataclasses

import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.peer.flows import GroupFlow
from marfl_peer.peer.peer import Peer
from marfl_peer.peer.scheme import PLACEMENTS, Mar, check_scheme


def test_every_placement_can_be_built() -> None:
    (item,) = [item for item in dataclasses.fields(Settings) if item.name == "placement"]
    assert set(PLACEMENTS) == set(item.metadata["choices"])


def test_mar_is_what_the_settings_say() -> None:
    settings = Settings(group_size=7, exchange="all-gather", spans="equal")
    assert Mar().group_size(settings) == 7
    assert Mar().flow(settings) == GroupFlow("all-gather", "equal")


def test_peer_that_is_not_given_the_scheme_of_its_run_says_where_there_is_one() -> None:
    with pytest.raises(ConfigError, match=r"scheme=SCHEMES\['ring'\] of marfl_peer.lab.baselines.registry") as caught:
        Peer(Settings(aggregation="ring"), Digits())
    assert caught.value.what == "aggregation"


def test_peer_that_is_given_another_scheme_than_its_run_has_says_so() -> None:
    class Other(Mar):
        name = "gossip"

    with pytest.raises(ConfigError, match="'gossip'"):
        check_scheme(Other(), Settings())
    check_scheme(Mar(), Settings())
