"""What a part of the swarm knows of its merges, and until when its own view counts."""

from __future__ import annotations

from functools import partial

import pytest

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import Iteration, PeerId
from marfl_peer.peer.parts import RECENT_ITERATIONS, Parts, merges_among
from marfl_peer.protocol.merging import merge_event
from marfl_peer.protocol.view import FOUNDING, Membership, MembershipEvent

ME, MATE, STRANGER, THIRD = (PeerId(digit * 40) for digit in "1234")


def joined(peer: PeerId) -> MembershipEvent:
    return MembershipEvent(peer_id=peer, incarnation=1, kind="joined", iteration=FOUNDING)


def parts_of(last_iteration: int = 1000) -> tuple[Parts, Membership]:
    membership = Membership()
    membership.add([joined(ME), joined(MATE)])
    return Parts(me=ME, incarnation=lambda: 1, last_iteration=last_iteration), membership


def met(one: PeerId, at: int, other: PeerId, other_at: int) -> MembershipEvent:
    return merge_event(one, 1, iteration=at, other=other, other_iteration=other_at)


def test_without_a_merge_all_that_is_known_counts() -> None:
    parts, membership = parts_of()
    assert parts.counting(5, membership) is membership
    assert parts.ahead(5) is None
    assert not parts.is_merging(5)
    assert parts.recent(5) == []


def test_own_view_counts_until_the_first_common_iteration() -> None:
    parts, membership = parts_of()
    merge = met(MATE, 7, STRANGER, 20)
    parts.begin([merge], since=23, iteration=7, membership=membership)
    membership.add([merge, joined(STRANGER)])
    assert STRANGER not in parts.counting(22, membership).view(Iteration(22), 4).cell_of
    assert STRANGER in parts.counting(23, membership).view(Iteration(23), 4).cell_of
    ahead = parts.ahead(22)
    assert ahead is not None and ahead.first == 23
    assert parts.ahead(23) is None
    assert [parts.is_merging(at) for at in (22, 23, 24)] == [True, True, False]
    assert parts.side([ME, MATE]) == 7
    assert parts.side([STRANGER]) == 20


def test_part_that_only_hears_of_a_merge_counts_from_there() -> None:
    parts, membership = parts_of()
    parts.begin([met(STRANGER, 7, THIRD, 20)], since=23, iteration=12, membership=membership)
    assert parts.side([ME, MATE]) == 12
    parts.begin([met(ME, 13, THIRD, 20)], since=23, iteration=13, membership=membership)
    assert parts.side([ME, MATE]) == 13


def test_new_merge_after_one_that_is_over_stands_alone() -> None:
    parts, membership = parts_of()
    parts.begin([met(ME, 7, STRANGER, 7)], since=10, iteration=7, membership=membership)
    membership.add([joined(STRANGER)])
    parts.begin([met(STRANGER, 30, THIRD, 30)], since=33, iteration=30, membership=membership)
    assert parts.side([ME, MATE, STRANGER]) == 30
    members = parts.counting(31, membership).view(Iteration(31), 4).members
    assert members == (ME, MATE, STRANGER), "the era before is over"


def test_merge_is_told_with_all_news_for_some_iterations() -> None:
    parts, membership = parts_of()
    merge = met(ME, 7, STRANGER, 7)
    parts.begin([merge], since=10, iteration=7, membership=membership)
    assert parts.recent(10 + RECENT_ITERATIONS - 1) == [merge]
    assert parts.recent(10 + RECENT_ITERATIONS) == []


def test_merge_beyond_the_end_of_the_run_is_neither_stated_nor_believed() -> None:
    parts, _ = parts_of(last_iteration=20)
    assert len(parts.meeting(17, STRANGER, 3)) == 1
    assert parts.meeting(18, STRANGER, 3) == []
    assert parts.meeting(3, STRANGER, 2**40) == []
    assert not parts.is_believable(met(STRANGER, 18, ME, 3))
    broken = MembershipEvent(peer_id=STRANGER, incarnation=1, kind="merged", iteration=3)
    with pytest.raises(RemoteProtocolError):
        parts.is_believable(broken)


def test_merge_of_two_others_is_no_concern_of_a_third_part() -> None:
    parts, _ = parts_of()
    concern = partial(parts.concern, iteration=7, members=[ME, MATE])
    assert not concern([])
    assert not concern([met(STRANGER, 18, THIRD, 19)])
    assert concern([met(STRANGER, 7, MATE, 8)])
    assert concern([met(STRANGER, 18, THIRD, 19), met(STRANGER, 7, MATE, 8)])


def test_merge_that_is_agreed_on_concerns_this_part_until_it_is_over() -> None:
    parts, membership = parts_of()
    agreed = met(ME, 7, STRANGER, 7)
    parts.begin([agreed], since=10, iteration=7, membership=membership)
    told = [agreed, met(STRANGER, 7, THIRD, 8)]
    expected = [(7, True), (10, True), (11, False)]
    assert [(at, parts.concern(told, iteration=at, members=[ME, MATE])) for at, _ in expected] == expected


def test_merge_comes_too_early_for_a_part_that_went_on() -> None:
    merges = [met(STRANGER, 3, ME, 7), met(STRANGER, 2, MATE, 7)]
    assert [Parts.come_too_early(merges, at) for at in (7, 8, 9, 10)] == [False, False, True, True]
    assert not Parts.come_too_early([], 7)


def test_merges_are_found_among_other_events() -> None:
    merge = met(ME, 7, STRANGER, 7)
    assert merges_among([joined(ME), merge, joined(MATE)]) == [merge]
