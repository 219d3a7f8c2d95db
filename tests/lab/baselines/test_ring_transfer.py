from __future__ import annotations

import pytest
import torch
from averaging_peers import average_all, averagers

from marfl_peer.lab.baselines.ring_transfer import RingFlow


def test_sums_of_the_largest_values_do_not_overflow(on_loop) -> None:
    """Each adds a share of the weight, not its whole weight."""

    async def main() -> None:
        async with averagers(4, 100, flow=RingFlow()) as peers:
            for peer in peers:
                peer.weight = 2**31
                peer.own.fill_(3e38)
            for vector, _ in await average_all(peers, 64):
                assert torch.allclose(vector, torch.full((100,), 3e38), rtol=1e-6)

    on_loop(main())


@pytest.mark.parametrize("count", [1, 2, 128])
def test_ring_takes_as_long_as_a_butterfly(count: int) -> None:
    assert RingFlow().stretch(count) == 1.0
    assert not RingFlow().balances
