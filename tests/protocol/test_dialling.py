from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from one_line import peer

from marfl_peer.protocol.dialling import FIRST_PAUSE_S, LONGEST_PAUSE_S, Way, pause_s, way_between


@pytest.mark.parametrize(
    ("i_listen", "it_listens", "to_the_higher", "to_the_lower"),
    [
        (True, True, Way.DIAL, Way.DIAL_SECOND),
        (False, True, Way.DIAL, Way.DIAL),
        (True, False, Way.AWAIT, Way.AWAIT),
        (False, False, Way.NONE, Way.NONE),
    ],
)
def test_way_follows_from_who_listens(i_listen: bool, it_listens: bool, to_the_higher: Way, to_the_lower: Way) -> None:
    assert way_between(peer(1), peer(2), i_listen=i_listen, it_listens=it_listens) is to_the_higher
    assert way_between(peer(2), peer(1), i_listen=i_listen, it_listens=it_listens) is to_the_lower


@given(st.booleans(), st.booleans())
def test_one_dials_wherever_one_can(one_listens: bool, other_listens: bool) -> None:
    ways = {
        way_between(peer(1), peer(2), i_listen=one_listens, it_listens=other_listens),
        way_between(peer(2), peer(1), i_listen=other_listens, it_listens=one_listens),
    }
    assert (Way.DIAL in ways) == (one_listens or other_listens)
    assert (Way.AWAIT in ways) == (one_listens != other_listens)


def test_pauses_grow_up_to_the_longest() -> None:
    pauses = [pause_s(failures) for failures in range(2000)]
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S
