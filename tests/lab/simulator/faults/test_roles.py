"""Who leads, owns or takes part, by what the peers told."""

from __future__ import annotations

import pytest

from marfl_peer.facts import PeerStarted, ViewChanged
from marfl_peer.lab.simulator.faults.plan import Part
from marfl_peer.lab.simulator.faults.roles import Roles

IDS = ("c", "a", "d", "b")


def _roles(*, with_view: bool) -> Roles:
    """Four peers on a grid of 2x2; by rank of id, peers 1, 3, 0, 2 have the cells 0 to 3."""
    roles = Roles()
    for index, peer_id in enumerate(IDS):
        roles.heard(index, PeerStarted(peer_id=peer_id, incarnation=1, run_id="r", host="h", port=1, task="blobs"))
        if with_view:
            cell = sorted(IDS).index(peer_id)
            roles.heard(index, ViewChanged(iteration=1, digest="", peers=4, grid=(2, 2), cell=cell))
    return roles


def _who(roles: Roles, part: Part, *, round: int, running: tuple[int, ...] = (0, 1, 2, 3)) -> list[int]:
    return [index for index in running if roles.plays(part, index, round=round, running=running)]


def test_before_the_view_all_are_one_line() -> None:
    roles = _roles(with_view=False)
    assert _who(roles, "leader", round=1) == [1]
    assert _who(roles, "member", round=1) == [0, 2, 3]
    assert _who(roles, "anyone", round=1) == [0, 1, 2, 3]


@pytest.mark.parametrize(("round", "leaders", "owners"), [(1, [1, 3], [0, 2]), (2, [0, 1], [2, 3])])
def test_each_line_of_a_round_has_its_leader_and_its_last_owner(
    round: int, leaders: list[int], owners: list[int]
) -> None:
    roles = _roles(with_view=True)
    assert _who(roles, "leader", round=round) == leaders
    assert _who(roles, "owner", round=round) == owners
    assert _who(roles, "member", round=round) == owners


def test_next_id_leads_where_the_lowest_is_gone() -> None:
    assert _who(_roles(with_view=True), "leader", round=1, running=(0, 2, 3)) == [0, 3]


def test_peer_that_nobody_heard_of_has_no_part() -> None:
    assert not Roles().plays("leader", 0, round=1, running=(0,))
