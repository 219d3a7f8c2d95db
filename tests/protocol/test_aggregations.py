from __future__ import annotations

import inspect

import pytest
from hashed_network import HashedNetwork
from network_of_machines import Network

from marfl_peer.protocol.aggregations import AnyAggregation


@pytest.mark.parametrize("network", [Network(5), HashedNetwork(5, buckets=2, rounds=2)], ids=["grid", "hashed"])
def test_both_placements_have_the_face_that_the_rounds_see(network: Network) -> None:
    names = [name for name in vars(AnyAggregation) if not name.startswith("_")]
    assert len(names) >= 17
    machine = next(iter(network.nodes.values())).aggregation
    for name in names:
        expected = vars(AnyAggregation)[name]
        if inspect.isfunction(expected):
            found = inspect.signature(getattr(type(machine), name))
            assert list(found.parameters) == list(inspect.signature(expected).parameters), name
    assert (machine.iteration, len(machine.view_digest), machine.rounds) == (1, 40, 2)
