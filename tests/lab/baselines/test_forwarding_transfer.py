from __future__ import annotations

import torch
from averaging_peers import average_all, averagers

from marfl_peer.lab.baselines.everybody import EverybodyFlow
from marfl_peer.lab.baselines.forwarding_transfer import ForwardingFlow
from marfl_peer.peer.flows import Flow


def test_result_has_the_bits_of_the_all_gather(on_loop) -> None:
    """Both combine all vectors in the order of the cells, in pieces of different lengths."""

    async def main() -> None:
        vectors = []
        flows: list[Flow] = [ForwardingFlow(), EverybodyFlow()]
        for flow in flows:
            async with averagers(5, 70_000, flow=flow) as peers:
                for index, peer in enumerate(peers):
                    peer.own = torch.randn(70_000, generator=torch.Generator().manual_seed(index))
                vectors += [vector.clone() for vector, _ in await average_all(peers, 64)]
        assert all(torch.equal(vector, vectors[0]) for vector in vectors)

    on_loop(main())


def test_time_grows_with_the_vectors_that_each_passes_on() -> None:
    assert [ForwardingFlow().stretch(count) for count in (1, 3, 21)] == [1.0, 1.0, 10.0]
    assert not ForwardingFlow().balances
