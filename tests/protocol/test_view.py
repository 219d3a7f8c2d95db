from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.ids import Iteration, PeerId
from marfl_peer.protocol.grid import Grid
from marfl_peer.protocol.view import (
    FOUNDING,
    MAX_RECORD_BYTES,
    Membership,
    MembershipEvent,
    MembershipKind,
    View,
)


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def event(
    number: int,
    kind: MembershipKind = "joined",
    at: int = FOUNDING,
    incarnation: int = 1,
    record: bytes = b"",
) -> MembershipEvent:
    return MembershipEvent(peer_id=peer(number), incarnation=incarnation, kind=kind, iteration=at, record=record)


def of(events: Iterable[MembershipEvent], max_events: int = 1000) -> Membership:
    membership = Membership(max_events)
    membership.add(events)
    return membership


def founded(count: int, *news: MembershipEvent) -> Membership:
    return of([*(event(number) for number in range(count)), *news])


def view_at(membership: Membership, iteration: int, group_size: int = 4) -> View:
    return membership.view(Iteration(iteration), group_size)


def seats(view: View) -> list[int | None]:
    return [None if peer_id is None else int(peer_id, 16) for peer_id in view.peer_at]


def content(view: View) -> tuple[object, ...]:
    """All that a view says, as equality looks at iteration and digest only."""
    parts = (view.iteration, view.digest, view.members, view.grid, view.peer_at)
    return (*parts, dict(view.incarnations), dict(view.cell_of))


events = st.builds(
    event,
    number=st.integers(0, 9),
    kind=st.sampled_from(["joined", "left", "lost"]),
    at=st.integers(-1, 6),
    incarnation=st.integers(1, 3),
    record=st.sampled_from([b"", b"a", b"b"]),
)
batches = st.lists(st.lists(events, max_size=6), max_size=6)


def test_view_asked_for_again_is_the_same_one():
    membership = founded(4)
    first = view_at(membership, 3)
    assert view_at(membership, 3) is first
    assert [view_at(membership, 4).iteration, view_at(membership, 3).iteration] == [4, 3]
    assert content(view_at(membership, 3)) == content(first)


# merging


@given(st.lists(events, max_size=30), st.randoms(use_true_random=False))
def test_merging_commutes_and_associates(all_events: list[MembershipEvent], rng: random.Random) -> None:
    shuffled = rng.sample(all_events, len(all_events))
    cut = rng.randint(0, len(shuffled))
    once = of(all_events)
    left, right = of(shuffled[:cut]), of(shuffled[cut:])
    left.add(right.events())
    assert left.events() == once.events()
    assert [left.status(peer(number)) for number in range(10)] == [once.status(peer(number)) for number in range(10)]
    assert [content(view_at(left, at)) for at in range(1, 10)] == [content(view_at(once, at)) for at in range(1, 10)]


@given(st.lists(events, max_size=30))
def test_merging_twice_changes_nothing_and_is_no_news(all_events: list[MembershipEvent]) -> None:
    membership = of(all_events)
    before = membership.events()
    assert membership.add(all_events) == ()
    assert membership.add(before) == ()
    assert membership.events() == before


@given(st.lists(events, max_size=40), st.randoms(use_true_random=False))
def test_merging_full_sets_commutes(all_events: list[MembershipEvent], rng: random.Random) -> None:
    once = of(all_events, max_events=8)
    another = Membership(8)
    for one in rng.sample(all_events, len(all_events)):
        another.add([one])
    assert another.events() == once.events()
    assert len(once.events()) <= 8
    for number in range(10):
        assert another.status(peer(number)) == once.status(peer(number))
    assert content(view_at(another, 9)) == content(view_at(once, 9))


def test_full_set_keeps_the_oldest_events_and_passes_no_others_on() -> None:
    membership = Membership(2)
    membership.add([event(1, at=5), event(2, at=3)])
    assert membership.add([event(3, at=6)]) == ()
    assert membership.add([event(4, at=4)]) == (event(4, at=4),)
    assert membership.events() == (event(2, at=3), event(4, at=4))
    assert membership.status(peer(1)) is None
    assert seats(view_at(membership, 9)) == [2, 4]


def test_news_are_what_was_not_known() -> None:
    membership = founded(2)
    loss = event(1, "lost", at=3)
    assert membership.add([event(0), loss, loss]) == (loss,)
    assert membership.add([loss]) == ()


def test_earlier_sighting_replaces_a_later_one_and_is_news() -> None:
    membership = founded(2, event(1, "lost", at=5))
    assert membership.add([event(1, "lost", at=7)]) == ()
    assert membership.add([event(1, "lost", at=3)]) == (event(1, "lost", at=3),)
    assert len(membership.events()) == 3
    assert view_at(membership, 4).members == (peer(0), peer(1))
    assert view_at(membership, 5).members == (peer(0),)


def test_records_that_contradict_each_other_resolve_to_the_earlier_then_the_smaller() -> None:
    membership = of([event(0, at=2, record=b"b")])
    membership.add([event(0, at=2, record=b"a"), event(0, at=2, record=b"c"), event(0, at=3, record=b"A")])
    assert membership.events() == (event(0, at=2, record=b"a"),)
    membership.add([event(0, at=1, record=b"z")])
    assert membership.joined(peer(0), 1) == event(0, at=1, record=b"z")


# standing


def test_status_of_a_stranger_is_none() -> None:
    membership = founded(2)
    assert membership.status(peer(9)) is None
    assert membership.joined(peer(0), 2) is None


def test_status_is_decided_by_incarnation_then_by_lost_over_left_over_joined() -> None:
    membership = Membership()
    course: list[tuple[MembershipEvent, tuple[str, int]]] = [
        (event(0, "left", at=1), ("left", 1)),
        (event(0, "joined", at=0), ("left", 1)),
        (event(0, "lost", at=4), ("lost", 1)),
        (event(0, "left", at=2), ("lost", 1)),
        (event(0, "joined", at=9, incarnation=2), ("joined", 2)),
        (event(0, "lost", at=3), ("joined", 2)),
        (event(0, "left", at=5, incarnation=2), ("left", 2)),
    ]
    for news, expected in course:
        membership.add([news])
        status = membership.status(peer(0))
        assert status is not None
        assert (status.kind, status.incarnation) == expected


def test_status_speaks_before_the_event_takes_effect() -> None:
    membership = founded(2, event(1, "lost", at=3))
    status = membership.status(peer(1))
    assert status is not None and status.kind == "lost"
    assert peer(1) in view_at(membership, 4).members


def test_loss_without_a_joining_makes_no_member() -> None:
    assert view_at(founded(2, event(5, "lost", at=0)), 9).members == (peer(0), peer(1))


def test_loss_that_is_older_than_the_joining_of_its_incarnation_still_wins() -> None:
    assert view_at(founded(2, event(5, "lost", at=0), event(5, at=4)), 9).members == (peer(0), peer(1))


# seats


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 17, 23, 64])
def test_founders_sit_by_rank_of_peer_id_from_iteration_1(count: int) -> None:
    numbers = random.Random(count).sample(range(1000), count)
    view = view_at(of(event(number) for number in numbers), 1)
    assert view.members == tuple(sorted(map(peer, numbers)))
    assert view.grid == Grid.for_peers(count, 4)
    assert [view.cell_of[peer_id] for peer_id in view.members] == list(range(count))
    assert seats(view) == [*sorted(numbers), *[None] * (view.grid.cells - count)]


def test_nobody_sits_before_iteration_1() -> None:
    for view in (view_at(founded(3), 0), view_at(Membership(), 5)):
        assert view.members == ()
        assert view.peer_at == (None,)
        assert view.grid == Grid(())


def test_events_take_effect_two_iterations_after_their_first_sight() -> None:
    membership = founded(3, event(7, at=4), event(0, "left", at=6))
    assert [len(view_at(membership, at).members) for at in (5, 6, 7, 8)] == [3, 4, 4, 3]


def test_leavers_cell_stays_empty_and_nobody_moves() -> None:
    membership = founded(16, event(5, "lost", at=1))
    view = view_at(membership, 3)
    assert view.grid.shape == (4, 4)
    assert seats(view) == [*range(5), None, *range(6, 16)]
    assert peer(5) not in view.cell_of and peer(5) not in view.incarnations


def test_joiners_take_the_lowest_free_cells_in_order_of_peer_id() -> None:
    gone = [event(number, "lost", at=1) for number in (9, 2, 6)]
    membership = founded(16, *gone, event(50, at=3), event(40, at=3), event(30, at=4))
    assert seats(view_at(membership, 5)) == [0, 1, 40, 3, 4, 5, 50, 7, 8, None, *range(10, 16)]
    assert seats(view_at(membership, 6))[9] == 30


def test_leavers_get_up_before_joiners_of_the_same_iteration_sit_down() -> None:
    membership = founded(16, event(11, "left", at=2), event(20, at=2))
    view = view_at(membership, 4)
    assert view.grid.shape == (4, 4)
    assert view.cell_of[peer(20)] == 11


def test_full_grid_grows_and_everybody_keeps_the_number_of_the_cell() -> None:
    membership = founded(16, *(event(number, at=1) for number in (99, 98)))
    view = view_at(membership, 3)
    assert view.grid == Grid.for_peers(18, 4)
    assert seats(view) == [*range(16), 98, 99]


def test_grid_shrinks_when_under_four_fifths_would_do() -> None:
    # 20 cells of 5 x 4: 16 peers need 16, just not under 4/5; 15 peers need 15.
    leaving = [event(number, "left", at=number + 1) for number in (3, 0, 7, 12, 15)]
    membership = founded(20, *leaving)
    before, after = view_at(membership, 15, 5), view_at(membership, 18, 5)
    assert (len(before.members), before.grid.shape) == (16, (5, 4))
    assert len([seat for seat in seats(before) if seat is None]) == 4
    assert (len(after.members), after.grid.shape) == (15, (5, 3))
    assert seats(after) == [number for number in range(20) if number not in (3, 0, 7, 12, 15)]


def test_closing_ranks_keeps_the_order_of_cells_not_of_ids() -> None:
    leaving = [event(number, "left", at=3) for number in range(6, 16)]
    membership = founded(16, event(2, "left", at=1), event(77, at=2), *leaving)
    view = view_at(membership, 5)
    assert view.grid == Grid.for_peers(6, 4)
    assert seats(view) == [0, 1, 77, 3, 4, 5]


def test_peer_with_a_new_incarnation_sits_down_anew() -> None:
    membership = founded(16, event(2, "lost", at=1), event(9, at=4, incarnation=2))
    view = view_at(membership, 6)
    assert view.cell_of[peer(9)] == 2
    assert view.peer_at[9] is None
    assert view.incarnations[peer(9)] == 2
    assert view.incarnations[peer(8)] == 1


def test_everybody_may_leave_and_come_back() -> None:
    leaving = [event(number, "left", at=2) for number in range(3)]
    membership = founded(3, *leaving, event(1, at=5, incarnation=2), event(0, at=5, incarnation=2))
    assert view_at(membership, 4).members == ()
    assert seats(view_at(membership, 7)) == [0, 1]


@given(batches, st.integers(2, 4))
def test_seats_hold_every_member_once(news: list[list[MembershipEvent]], group_size: int) -> None:
    membership = of(one for batch in news for one in batch)
    for at in range(1, 10):
        view = view_at(membership, at, group_size)
        assert len(view.peer_at) == view.grid.cells
        assert view.members == tuple(sorted(peer_id for peer_id in view.peer_at if peer_id is not None))
        assert {view.peer_at[cell]: cell for cell in view.cell_of.values()} == dict(view.cell_of)
        assert tuple(view.incarnations) == view.members
        assert 5 * Grid.for_peers(max(len(view.members), 1), group_size).cells >= 4 * view.grid.cells


# views


@given(batches, st.lists(st.integers(0, 9), min_size=6, max_size=6), st.integers(2, 4))
def test_view_depends_on_the_set_of_events_alone(
    news: list[list[MembershipEvent]], asked: list[int], group_size: int
) -> None:
    grown = Membership()
    for batch, at in zip(news, asked, strict=False):
        grown.add(batch)
        # Asking in between must leave no trace: what was remembered is dropped where news touch it.
        fresh = of(grown.events())
        assert content(view_at(grown, at, group_size)) == content(view_at(fresh, at, group_size))
    for at in (*range(10), *range(9, -1, -1)):
        fresh = of(grown.events())
        assert content(view_at(grown, at, group_size)) == content(view_at(fresh, at, group_size))


def test_view_of_long_past_iterations_is_replayed() -> None:
    history = [event(number, "left", at=2 * number) for number in range(60)]
    membership = founded(60, *history)
    forwards = [content(view_at(membership, at)) for at in range(1, 130)]
    assert [content(view_at(membership, at)) for at in range(129, 0, -1)] == forwards[::-1]
    assert [content(view_at(membership, at)) for at in range(1, 130)] == forwards
    jumping = random.Random(3).sample(range(1, 130), 129)
    assert [content(view_at(membership, at)) for at in jumping] == [forwards[at - 1] for at in jumping]
    late = event(200, at=5)
    membership.add([late])
    fresh = founded(60, *history, late)
    assert [content(view_at(membership, at)) for at in (129, 7, 6)] == [
        content(view_at(fresh, at)) for at in (129, 7, 6)
    ]


def test_view_follows_the_group_size() -> None:
    membership = founded(16)
    assert [view_at(membership, 1, size).grid.shape for size in (4, 2, 4)] == [(4, 4), (2, 2, 2, 2), (4, 4)]


def test_digest_stays_while_nothing_changes() -> None:
    membership = founded(16, event(3, "left", at=5))
    digests = [view_at(membership, at).digest for at in range(1, 10)]
    assert len(set(digests[:6])) == 1 and len(set(digests[6:])) == 1
    assert digests[5] != digests[6]
    assert len(digests[0]) == 40
    assert [view_at(membership, at).iteration for at in (1, 2)] == [1, 2]


def test_digest_names_members_incarnations_cells_and_shape() -> None:
    views = [
        view_at(founded(16), 9),
        view_at(founded(16), 9, 8),
        view_at(founded(16), 9, 2),
        view_at(founded(15, event(99, at=0)), 9),
        view_at(founded(16, event(15, at=0, incarnation=2)), 9),
        view_at(founded(15, event(15, at=0), event(0, "left", at=1), event(0, at=2, incarnation=2)), 9),
        view_at(founded(16, event(0, "left", at=0), event(99, at=1), event(0, at=2, incarnation=2)), 9),
    ]
    # 4 x 4 is the grid of 16 for M = 4 and for M = 8.
    assert views[0].digest == views[1].digest
    assert len({view.digest for view in views[1:]}) == len(views) - 1


def test_digest_differs_when_the_same_members_sit_elsewhere() -> None:
    swapped = founded(4, event(0, "left", at=0), event(1, "left", at=0))
    swapped.add([event(1, at=1, incarnation=2), event(0, at=2, incarnation=2)])
    straight = founded(4, event(0, at=0, incarnation=2), event(1, at=0, incarnation=2))
    assert seats(view_at(swapped, 9)) != seats(view_at(straight, 9))
    assert view_at(swapped, 9).incarnations == view_at(straight, 9).incarnations
    assert view_at(swapped, 9).digest != view_at(straight, 9).digest


def test_views_are_equal_and_hash_alike_by_iteration_and_digest() -> None:
    assert view_at(founded(5), 3) == view_at(founded(5), 3)
    assert hash(view_at(founded(5), 3)) == hash(view_at(founded(5), 3))
    assert view_at(founded(5), 3) != view_at(founded(5), 4)
    assert view_at(founded(5), 3) != view_at(founded(6), 3)


# on the wire


def test_event_travels_as_an_array() -> None:
    joining = event(3, at=7, record=b"signed")
    data = msgspec.msgpack.encode(joining)
    assert msgspec.msgpack.decode(data) == [peer(3), 1, "joined", 7, b"signed"]
    assert msgspec.msgpack.decode(data, type=MembershipEvent) == joining


@pytest.mark.parametrize(
    "fields",
    [
        ["f" * 39, 1, "joined", 0, b""],
        ["F" * 40, 1, "joined", 0, b""],
        ["f" * 40 + "\n", 1, "joined", 0, b""],
        [peer(1), -1, "joined", 0, b""],
        [peer(1), 2**60, "joined", 0, b""],
        [peer(1), 1, "banned", 0, b""],
        [peer(1), 1, "left", -2, b""],
        [peer(1), 1, "left", 2**60, b""],
        [peer(1), 1, "joined", 0, b"x" * (MAX_RECORD_BYTES + 1)],
        [peer(1), 1, "joined", 0, "text"],
        [peer(1), 1],
    ],
)
def test_event_outside_of_its_limits_is_refused(fields: list[object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=MembershipEvent)
