"""FedAvg's plan, and its machines back to back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import members_of, peer

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.lab.baselines.server import ServerFlow, plan_server
from marfl_peer.protocol.exchange import Exchange, Span
from marfl_peer.protocol.instructions import CompleteExchange, Reduce, SendSpan, SignChunk
from marfl_peer.protocol.messages import Ballot, LineName, Propose


def test_lowest_id_is_the_server_wherever_it_sits() -> None:
    plan = plan_server([*reversed(members_of([1, 2, 3]))], length=10)
    assert plan.chunks == {peer(0): Span(0, 10), peer(1): Span(0, 0), peer(2): Span(0, 0)}
    assert plan.contributors == (peer(2), peer(1), peer(0))  # sums run in the order of the cells


@given(weights=st.lists(st.integers(0, 5), min_size=1, max_size=9).filter(any), length=st.integers(0, 9))
def test_clients_send_their_vector_and_the_server_the_mean(weights: list[int], length: int) -> None:
    """Messages arrive in the order in which they are sent, all after everybody is ready."""
    plan = plan_server(members_of(weights), length=length)
    machines = {one: Exchange(one, plan) for one in plan.members}
    sent: dict[PeerId, int] = dict.fromkeys(plan.members, 0)
    complete: set[PeerId] = set()
    reduced: list[PeerId] = []
    queue = [(one, machines[one].start()) for one in plan.members]
    for one in plan.members:
        queue += [(one, machines[one].ready(other)) for other in plan.members if other != one]
    while queue:
        me, steps = queue.pop(0)
        for step in steps:
            match step:
                case SendSpan(stage="scatter"):
                    for to in step.to:
                        for span in plan.segments(Span(step.start, step.stop)):
                            sent[me] += span.length
                            machines[to].admit_parts(me, [span])
                            queue.append((to, machines[to].part_arrived(span)))
                case SendSpan():
                    for to in step.to:
                        for span in plan.segments(Span(step.start, step.stop)):
                            sent[me] += span.length
                            machines[to].admit_results(me, [span])
                            queue.append((to, machines[to].results_arrived(1)))
                case SignChunk():
                    queue += [(other, machines[other].digest_arrived(me)) for other in plan.members if other != me]
                case Reduce():
                    reduced.append(me)
                case CompleteExchange():
                    complete.add(me)
    server = plan.members[0]
    assert complete == set(plan.members)
    assert set(reduced) <= {server}
    assert sent[server] == (len(weights) - 1) * length
    assert all(
        sent[client] == length * (weight > 0)
        for client, weight in zip(plan.members, weights, strict=True)
        if client != server
    )


def test_nobody_proposes_shares_and_more_members_take_longer() -> None:
    flow = ServerFlow()
    members = tuple(members_of([1, 1]))
    proposal = Propose(
        name=LineName(iteration=1, round=1, line=0),
        ballot=Ballot(attempt=1, leader=peer(0)),
        view_digest="ab",
        members=members,
        shares=(500, 500),
    )
    with pytest.raises(RemoteProtocolError):
        flow.check(proposal)
    assert not flow.balances
    assert [flow.stretch(count) for count in (1, 2, 3, 64)] == [1.0, 1.0, 1.0, 31.5]
