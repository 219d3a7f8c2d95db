from __future__ import annotations

import pytest
from machines import members_of, peer

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.lab.baselines.everybody import EverybodyFlow
from marfl_peer.protocol.messages import Ballot, LineName, Propose


@pytest.mark.parametrize("shares", [(), (500, 500)])
def test_proposal_with_shares_is_refused(shares: tuple[int, ...]) -> None:
    flow = EverybodyFlow()
    proposal = Propose(
        name=LineName(iteration=1, round=1, line=0),
        ballot=Ballot(attempt=1, leader=peer(0)),
        view_digest="ab",
        members=tuple(members_of([1, 1])),
        shares=shares,
    )
    if shares:
        with pytest.raises(RemoteProtocolError):
            flow.check(proposal)
    else:
        flow.check(proposal)


def test_time_grows_with_the_vectors_that_each_sends() -> None:
    flow = EverybodyFlow()
    assert not flow.balances
    assert [flow.stretch(count) for count in (1, 3, 21)] == [1.0, 1.0, 10.0]
