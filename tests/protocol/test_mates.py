from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.errors import LocalProtocolError
from marfl_peer.ids import Iteration, PeerId, Round
from marfl_peer.protocol.mates import WINDOW, Mates, line_of
from marfl_peer.protocol.view import FOUNDING, Membership, MembershipEvent, View

IDS = [PeerId(f"{number:040x}") for number in range(9)]
A, B, C, D = IDS[:4]


def view_of(count: int, group_size: int) -> View:
    membership = Membership()
    membership.add(
        MembershipEvent(peer_id=peer, incarnation=0, kind="joined", iteration=FOUNDING) for peer in IDS[:count]
    )
    return membership.view(Iteration(3), group_size)


def test_mates_are_those_of_the_line_that_the_averaging_takes() -> None:
    view = view_of(9, 3)
    seen = {}
    for round in (1, 2):
        name, mates = line_of(view, IDS[4], Round(round))
        seen[round] = set(mates)
        assert (name.iteration, name.round, name.view_mark) == (3, round, view.mark)
        assert IDS[4] not in mates
        for mate in mates:
            other, theirs = line_of(view, mate, Round(round))
            assert other == name
            assert {*theirs, mate} == {*mates, IDS[4]}
    assert seen[1] & seen[2] == set()
    assert {len(mates) for mates in seen.values()} == {2}
    with pytest.raises(LocalProtocolError):
        line_of(view, IDS[4], Round(3))


def test_who_stands_in_for_an_empty_cell_is_no_mate_there() -> None:
    view = view_of(5, 3)
    taught = [mate for peer in IDS[:5] for round in (1, 2) for mate in line_of(view, peer, Round(round))[1]]
    for peer in IDS[:5]:
        assert taught.count(peer) == sum(len(line_of(view, peer, Round(round))[1]) for round in (1, 2))


def test_all_mates_are_asked_and_pulled_from_where_all_are_wanted() -> None:
    mates = Mates([A, B, C])
    assert mates.ask() == [A, B, C]
    assert mates.ask() == []
    assert mates.pull() == []
    assert mates.offered(B)
    assert mates.pull() == [B]
    assert mates.awaits(B)
    assert not mates.awaits(A)
    mates.arrived(B)
    mates.out(A)
    assert not mates.is_over
    assert mates.offered(C)
    assert mates.pull() == [C]
    mates.arrived(C)
    assert mates.is_over
    assert not mates.is_complete
    assert mates.here == [B, C]


def test_models_are_pulled_a_few_at_a_time() -> None:
    mates = Mates(IDS)
    for mate in mates.ask():
        mates.offered(mate)
    first = mates.pull()
    assert len(first) == WINDOW
    mates.arrived(first[0])
    assert len(mates.pull()) == 1


def test_offer_that_was_not_asked_for_is_none() -> None:
    mates = Mates([A])
    assert not mates.offered(A)
    mates.ask()
    assert not mates.offered(B)
    assert mates.offered(A)
    assert not mates.offered(A)
    mates.arrived(A)  # nobody pulled it
    assert mates.here == []


def test_first_ones_are_asked_and_the_next_where_one_falls_away() -> None:
    mates = Mates([C, A, B], wanted=1)
    assert mates.ask() == [C]
    assert mates.ask() == []
    mates.out(C)
    assert not mates.is_over
    assert mates.ask() == [A]
    mates.offered(A)
    assert mates.pull() == [A]
    mates.arrived(A)
    assert mates.is_over
    assert mates.is_complete
    assert mates.ask() == []


def test_interrupted_mate_is_asked_again_unless_its_model_is_here() -> None:
    mates = Mates([A, B, C])
    mates.ask()
    mates.offered(A)
    mates.pull()
    mates.arrived(A)
    mates.out(C)
    assert [mates.interrupted(mate) for mate in (A, B, C)] == [False, True, False]
    assert mates.ask() == [B]


def test_who_does_not_answer_is_not_waited_for_but_who_offered_is() -> None:
    mates = Mates([A, B])
    mates.ask()
    mates.offered(B)
    mates.hurry()
    assert mates.pull() == [B]
    mates.arrived(B)
    assert mates.is_over


@given(
    st.integers(0, 5),
    st.none() | st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("oaxih"), st.integers(0, 4)), max_size=40),
)
def test_round_is_over_when_everybody_is_here_or_out_whatever_happens(
    count: int, wanted: int | None, events: list[tuple[str, int]]
) -> None:
    mates = Mates(IDS[:count], wanted=wanted)
    for kind, index in events:
        peer = IDS[index]
        mates.ask()
        mates.pull()
        match kind:
            case "o":
                mates.offered(peer)
            case "a":
                mates.arrived(peer)
            case "x":
                mates.out(peer)
            case "i":
                mates.interrupted(peer)
            case _:
                mates.hurry()
    assert len(mates.here) <= (count if wanted is None else max(wanted, 0))
    for peer in IDS[:count]:
        mates.out(peer)
    assert mates.is_over
    assert len(mates) == count
