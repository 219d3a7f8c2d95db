from __future__ import annotations

import pytest

from marfl_peer.config import MAX_GROUP_SIZE, Settings
from marfl_peer.lab.baselines.one_group import OneGroup
from marfl_peer.lab.baselines.server import ServerFlow
from marfl_peer.protocol.grid import Grid
from marfl_peer.protocol.messages import MAX_MEMBERS


@pytest.mark.parametrize("peers", [2, 5, MAX_GROUP_SIZE + 1, MAX_MEMBERS])
def test_grid_has_one_axis_whatever_the_group_size_says(peers: int) -> None:
    scheme, settings = OneGroup("fedavg", ServerFlow), Settings(aggregation="fedavg", group_size=2)
    assert Grid.for_peers(peers, scheme.group_size(settings)).shape == (peers,)
    assert isinstance(scheme.flow(settings), ServerFlow)


def test_more_than_can_be_one_group_fill_two_axes() -> None:
    scheme = OneGroup("fedavg", ServerFlow)
    assert len(Grid.for_peers(MAX_MEMBERS + 1, scheme.group_size(Settings())).shape) == 2
