"""What a leader may propose, how long it may take, and the exchange of a ballot as MAR's groups do it."""

from __future__ import annotations

import pytest
import torch
from averaging_peers import averagers

from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.config import Spans
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.peer.flows import GroupFlow, Order
from marfl_peer.protocol.messages import Ballot, LineName, Member, Propose, Seat

NAME = LineName(iteration=1, round=1, line=0)
BALLOT = Ballot(attempt=1, leader="a" * 40)


@pytest.mark.parametrize(
    ("kind", "spans", "balances"),
    [("butterfly", "measured", True), ("butterfly", "equal", False), ("all-gather", "measured", False)],
)
def test_slow_members_are_given_less_only_where_chunks_follow_links(
    kind: ExchangeKind, spans: Spans, balances: bool
) -> None:
    assert GroupFlow(kind, spans).balances == balances
    assert GroupFlow(kind, spans).stretch(64) == 1.0


@pytest.mark.parametrize(("kind", "is_fine"), [("butterfly", True), ("all-gather", False)])
def test_shares_are_of_a_butterfly(kind: ExchangeKind, is_fine: bool) -> None:
    members = tuple(
        Member(peer_id=f"{i:040x}", seats=(Seat(cell=i, weight=1, sums=(), maxima=()),), update_s=0.0) for i in (0, 1)
    )
    proposal = Propose(name=NAME, ballot=BALLOT, view_digest="", members=members, shares=(300, 700))
    flow = GroupFlow(kind, "measured")
    if is_fine:
        flow.check(proposal)
    else:
        with pytest.raises(RemoteProtocolError):
            flow.check(proposal)


def test_transfer_is_that_of_the_order(on_loop) -> None:
    """One member alone: its own vector is the mean."""

    async def main() -> None:
        async with averagers(1, 100) as (peer,):
            done: list[bool] = []
            seats = (Seat(cell=0, weight=5, sums=(), maxima=()),)
            order = Order(
                tools=peer.tools.transfer,
                name=NAME,
                ballot=BALLOT,
                me=peer.me,
                members=[Member(peer_id=peer.me, seats=seats, update_s=0.0)],
                contribution=peer.own,
                result=torch.full((100,), float("nan")),
                coder=None,
                borders=(),
                shares=(),
                on_complete=lambda: done.append(True),
                on_culprit=lambda culprit: None,
            )
            transfer = GroupFlow("butterfly", "measured").transfer(order)
            assert transfer.members == (peer.me,)
            transfer.start()
            assert done == [True]
            assert torch.equal(transfer.result, peer.own)

    on_loop(main())
