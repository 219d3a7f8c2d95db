"""What a peer makes of the settings before it distils; whole swarms that do are in the simulator's tests."""

from __future__ import annotations

import pytest

from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.ids import Iteration, PeerId, Round
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.peer.distilling import Distilling
from marfl_peer.peer.outfit import outfit_of
from marfl_peer.protocol.mates import line_of
from marfl_peer.protocol.view import FOUNDING, Membership, MembershipEvent, View

PEERS = [PeerId(f"{number:040x}") for number in range(16)]


class Named:
    """Links of a peer that says nothing."""

    def __init__(self, me: PeerId) -> None:
        self.me = me


def view_at(iteration: int, count: int = 16) -> View:
    membership = Membership()
    membership.add(
        MembershipEvent(peer_id=peer, incarnation=0, kind="joined", iteration=FOUNDING) for peer in PEERS[:count]
    )
    return membership.view(Iteration(iteration), 4)


def distilling_of(me: PeerId = PEERS[0], **settings: object) -> Distilling:
    given = Settings().adopt({"mkd_iterations": 6, **settings})
    return Distilling(
        given,
        outfit_of(Digits(), given).schema,
        learner=None,  # type: ignore[arg-type]  # nobody trains here
        iterations=None,  # type: ignore[arg-type]
        links=Named(me),  # type: ignore[arg-type]
        clock=Clock(),
        tell=lambda fact: None,
    )


def test_first_iterations_are_distilled_and_the_averaging_is_given_the_time_for_it() -> None:
    one = distilling_of()
    assert [one.distils_in(iteration) for iteration in (1, 6, 7)] == [True, True, False]
    # Patience of 10 s, and for each of two rounds 2 s and twice three models on the link.
    model = one._full.total_bytes
    assert one.delay_s(view_at(6), 1e6) == pytest.approx(10 + 2 * (2 + 2 * 3 * model / 1e6))
    assert one.delay_s(view_at(7), 1e6) == 0.0
    assert one.delay_s(view_at(6, count=1), 1e6) == 0.0
    assert not distilling_of(mkd_iterations=0).distils_in(1)


def test_model_is_what_computes_and_no_momentum() -> None:
    schema = outfit_of(Digits(), Settings()).schema
    assert schema.has_momentum
    assert distilling_of()._full.total_bytes == 4 * schema.theta_length
    assert distilling_of(mkd_codec="int4")._short.total_bytes < schema.theta_length


def test_turns_share_the_teaching_and_come_round() -> None:
    chosen: dict[int, list[PeerId]] = {}
    for iteration in (1, 2, 3):
        view = view_at(iteration)
        for me in PEERS:
            name, mates = line_of(view, me, Round(1))
            chosen.setdefault(iteration, []).extend(distilling_of(me, mkd_ranking="turns")._chosen(name, mates).ask())
        assert sorted(chosen[iteration]) == PEERS, "each teaches one"
    for me, teachers in zip(PEERS, zip(*chosen.values(), strict=True), strict=True):
        assert set(teachers) == set(line_of(view_at(1), me, Round(1))[1]), "all mates in three iterations"


def test_all_mates_are_asked_where_outputs_are_compared() -> None:
    name, mates = line_of(view_at(1), PEERS[0], Round(1))
    assert distilling_of()._chosen(name, mates).ask() == list(mates)
