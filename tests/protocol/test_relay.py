"""Who passes the events of the first view on to whom, for every size of a swarm that matters."""

from __future__ import annotations

import hashlib
import random

import pytest

from marfl_peer.ids import PeerId
from marfl_peer.protocol.relay import RELAY_WIDTH, RelayTree


def peers(count: int) -> list[PeerId]:
    """Ascending."""
    return sorted(PeerId(hashlib.sha256(b"%d" % number).hexdigest()[:40]) for number in range(count))


@pytest.mark.parametrize(
    ("width", "counts"), [(1, range(1, 12)), (2, range(1, 40)), (3, range(1, 80)), (RELAY_WIDTH, range(1, 150))]
)
def test_everybody_but_the_founder_has_one_parent_that_has_the_events_before(width: int, counts: range) -> None:
    for count in counts:
        members = peers(count)
        for founder in {members[0], members[count // 2], members[-1]}:
            tree = RelayTree(founder, members, width=width)
            reached, passing_on = {founder}, [founder]
            while passing_on:
                giver = passing_on.pop(0)
                children = tree.children(giver)
                assert len(children) <= width
                assert children == sorted(children)
                assert [tree.parent(child) for child in children] == [giver] * len(children)
                assert not reached & set(children), "nobody has them twice"
                reached.update(children)
                passing_on.extend(children)
            assert reached == set(members)


def test_positions_are_those_of_a_heap_of_the_ascending_others() -> None:
    members = peers(14)
    founder, others = members[3], [*members[:3], *members[4:]]
    tree = RelayTree(founder, members, width=3)
    assert tree.children(founder) == others[:3]
    assert tree.children(others[0]) == others[3:6]
    assert tree.children(others[2]) == others[9:12]
    assert tree.children(others[3]) == others[12:]
    assert tree.children(others[4]) == []


@pytest.mark.parametrize(
    ("count", "depth"), [(2, 1), (RELAY_WIDTH + 1, 1), (RELAY_WIDTH + 2, 2), (1024, 2), (1057, 2), (1058, 3)]
)
def test_up_to_the_width_the_founder_gives_them_to_all_and_a_thousand_are_two_steps_away(
    count: int, depth: int
) -> None:
    founder, *others = peers(count)
    tree = RelayTree(founder, others, width=RELAY_WIDTH)
    last, steps = others[-1], 0
    while last != founder:
        last, steps = tree.parent(last), steps + 1
    assert steps == depth
    assert sum(len(tree.children(peer)) for peer in (founder, *others)) == count - 1


def test_tree_is_the_same_in_whatever_order_members_come_and_whether_the_founder_is_among_them() -> None:
    members = peers(60)
    shuffled = random.Random(5).sample(members, len(members))
    for given in (shuffled, [peer for peer in shuffled if peer != members[7]]):
        tree = RelayTree(members[7], given, width=4)
        expected = RelayTree(members[7], members, width=4)
        assert [tree.children(peer) for peer in members] == [expected.children(peer) for peer in members]
