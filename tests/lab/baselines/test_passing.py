from __future__ import annotations

import pytest
from machines import peer

from marfl_peer.errors import LocalProtocolError
from marfl_peer.lab.baselines.passing import MaySend, Passing
from marfl_peer.protocol.exchange import Span
from marfl_peer.protocol.instructions import SendSpan

MEMBERS = [peer(number) for number in range(4)]


def test_neighbours_go_round() -> None:
    places = [Passing(one, MEMBERS) for one in MEMBERS]
    assert [place.right for place in places] == [*MEMBERS[1:], MEMBERS[0]]
    assert [place.left for place in places] == [MEMBERS[-1], *MEMBERS[:-1]]


def test_right_neighbour_is_sent_to_when_it_is_ready() -> None:
    place = Passing(MEMBERS[0], MEMBERS)
    assert place.on("gather", Span(4, 6)) == SendSpan(to=(MEMBERS[1],), stage="gather", start=4, stop=6)
    assert place.ready(MEMBERS[2]) == []
    assert place.ready(MEMBERS[1]) == [MaySend(to=MEMBERS[1])]
    assert place.ready(MEMBERS[1]) == []
    assert not place.all_are_ready
    place.ready(MEMBERS[3])
    assert place.all_are_ready


def test_one_alone_awaits_nobody() -> None:
    place = Passing(MEMBERS[0], MEMBERS[:1])
    assert place.all_are_ready
    assert place.left == place.right == MEMBERS[0]


def test_ring_without_this_peer_is_a_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        Passing(peer(9), MEMBERS)
