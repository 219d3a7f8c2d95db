"""FedAvg (McMahan et al., arXiv 1602.05629) among peers: the member of the group with the lowest id is the server.
Everybody streams its vector to it, it combines segment by segment and streams the mean back.

It is a butterfly whose whole vector one member owns. Who loses the server loses the ballot: the next one has another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from marfl_peer.peer.flows import Order, planned
from marfl_peer.peer.transfer import Transfer
from marfl_peer.protocol.exchange import Plan, Span, plan_exchange
from marfl_peer.protocol.messages import Member, Propose
from marfl_peer.protocol.shares import check_shares


def plan_server(
    members: Sequence[Member], *, length: int, is_coded: bool = False, borders: tuple[int, ...] = ()
) -> Plan:
    """The plan that all members derive from the same ballot: the lowest id owns all `length` floats."""
    plan = plan_exchange(members, length=length, kind="butterfly", is_coded=is_coded, borders=borders)
    server, nothing = min(plan.members), Span(0, 0)
    return replace(plan, chunks={peer: Span(0, length) if peer == server else nothing for peer in plan.members})


@dataclass(frozen=True, slots=True)
class ServerFlow:
    """How bytes flow in FedAvg."""

    balances = False

    def check(self, proposal: Propose) -> None:
        check_shares(proposal, "all-gather")

    def stretch(self, members: int) -> float:
        """The server takes in and gives out a vector for each of the others, where a butterfly's members do two."""
        return max(1.0, (members - 1) / 2)

    def transfer(self, order: Order) -> Transfer:
        length, is_coded = order.contribution.numel(), order.coder is not None
        return planned(order, plan_server(order.members, length=length, is_coded=is_coded, borders=order.borders))
