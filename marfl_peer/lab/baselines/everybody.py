"""AR-FL: everybody sends its vector to everybody, and combines all of them for itself. It is the all-gather of MAR with
one group of all: O(N^2) vectors an iteration, what MAR-FL (arXiv 2512.05234) is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

from marfl_peer.peer.flows import GroupFlow, Order
from marfl_peer.peer.transfer import Transfer
from marfl_peer.protocol.messages import Propose

_ALL_GATHER = GroupFlow("all-gather", "equal")


@dataclass(frozen=True, slots=True)
class EverybodyFlow:
    """How bytes flow in AR-FL."""

    balances = False

    def check(self, proposal: Propose) -> None:
        _ALL_GATHER.check(proposal)

    def stretch(self, members: int) -> float:
        """Each sends a vector to each of the others, where a butterfly's members send two in all."""
        return max(1.0, (members - 1) / 2)

    def transfer(self, order: Order) -> Transfer:
        return _ALL_GATHER.transfer(order)
