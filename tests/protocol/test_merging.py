from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import Iteration, PeerId
from marfl_peer.protocol.merging import MERGE_DELAY, Era, Merge, merge_event, merge_of
from marfl_peer.protocol.view import FOUNDING, Membership, MembershipEvent, MembershipKind

FAR = 40


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def event(number: int, kind: MembershipKind = "joined", at: int = FOUNDING, incarnation: int = 1) -> MembershipEvent:
    return MembershipEvent(peer_id=peer(number), incarnation=incarnation, kind=kind, iteration=at)


def met(one: int, at: int, other: int, other_at: int) -> MembershipEvent:
    return merge_event(peer(one), 1, iteration=at, other=peer(other), other_iteration=other_at)


iterations = st.integers(1, FAR)


# what two who met agree on


@given(iterations, iterations)
def test_first_common_iteration_is_ahead_of_both(one: int, other: int) -> None:
    merge = merge_of(met(1, one, 2, other))
    assert merge.first == max(one, other) + MERGE_DELAY
    assert merge.met == ((peer(1), one), (peer(2), other))
    assert merge.side([peer(1), peer(5)]) == one
    assert merge.side([peer(2)]) == other
    assert merge.side([peer(7)]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"record": b""},
        {"record": msgspec.msgpack.encode([1, peer(1), 4])},
        {"record": msgspec.msgpack.encode([1, "x", 4])},
        {"record": msgspec.msgpack.encode([-1, peer(2), 4])},
        {"record": msgspec.msgpack.encode([1, peer(2), 4, 5])},
        {"record": b"x" * 1000},
        {"iteration": 4},
        {"iteration": FAR},
    ],
)
def test_merge_that_does_not_follow_from_a_meeting_is_refused(changes: dict[str, object]) -> None:
    stated = met(1, 1, 2, 4)
    with pytest.raises(RemoteProtocolError) as caught:
        merge_of(msgspec.structs.replace(stated, **changes))
    assert caught.value.code in ("bad_merge", "record_malformed")


# the numbers that each part goes through


def numbers(merge: Merge, side: int, *, until: int) -> list[int]:
    """The iterations of a part that was in `side` when it met the other."""
    course = [side]
    while course[-1] < until:
        course.append(merge.following(course[-1], side))
    return course


@given(iterations, iterations)
def test_both_parts_come_to_the_first_common_iteration_after_as_many_of_their_own(one: int, other: int) -> None:
    merge = merge_of(met(1, one, 2, other))
    for side in (one, other):
        course = numbers(merge, side, until=merge.first + 2)
        assert course == sorted(set(course)), "numbers only grow"
        assert course[-4:] == [merge.first - 1, merge.first, merge.first + 1, merge.first + 2]
        assert course.index(merge.first) == MERGE_DELAY, "the news have the time of two iterations"
        assert course[1] == side + 1, "nobody leaves a number out before all of its part can have heard of it"


@given(iterations, iterations, st.integers(0, MERGE_DELAY - 1), st.integers(1, 3))
def test_steps_count_the_iterations_that_a_part_goes_through(one: int, other: int, at: int, ahead: int) -> None:
    merge = merge_of(met(1, one, 2, other))
    course = numbers(merge, one, until=merge.first + 4)
    later = course[at + ahead]
    expected = 1 if later == merge.first else ahead
    assert merge.steps(course[at], later, one) == expected


def test_steps_without_numbers_between_are_differences() -> None:
    merge = merge_of(met(1, 5, 2, 90))
    assert merge.steps(93, 95, 5) == 2
    assert merge.steps(5, 4, 5) == -1
    assert merge.steps(5, 7, 5) == 2


# one view of two parts


def halves(rng: random.Random, sizes: tuple[int, int], ats: tuple[int, int], cut: int) -> list[list[MembershipEvent]]:
    """What the two parts of a swarm know that was cut in iteration `cut`, or was never one (`cut` 0)."""
    members = list(range(sum(sizes)))
    rng.shuffle(members)
    parts = [members[: sizes[0]], members[sizes[0] :]]
    known = []
    for own, other, at in zip(parts, reversed(parts), ats, strict=True):
        events = [event(number) for number in (members if cut else own)]
        events += [event(number, "lost", at=rng.randint(cut, at)) for number in other if cut]
        known.append(events)
    return known


def denials(membership: Membership, at: int) -> list[MembershipEvent]:
    """What those say of themselves that are thought to be lost."""
    lost = {one.peer_id for one in membership.events() if one.kind == "lost"}
    return [
        MembershipEvent(peer_id=one, incarnation=2, kind="joined", iteration=at, record=b"") for one in sorted(lost)
    ]


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(5, FAR), st.integers(5, FAR)),
    st.sampled_from([0, 1, 3]),
    st.integers(2, 5),
    st.randoms(use_true_random=False),
)
def test_parts_have_one_view_of_all_whatever_they_hear_first(
    sizes: tuple[int, int], ats: tuple[int, int], cut: int, group_size: int, rng: random.Random
) -> None:
    ours, theirs = halves(rng, sizes, ats, cut)
    stated = met(0, ats[0], 1, ats[1])
    first = merge_of(stated).first
    everything = Membership()
    everything.add([*ours, *theirs, stated])
    everything.add(denials(everything, first - 2))
    seen = set()
    for own, foreign in ((ours, theirs), (theirs, ours)):
        for _ in range(2):
            membership = Membership()
            membership.add(own)
            news = [*foreign, stated, *denials(everything, first - 2)]
            rng.shuffle(news)
            while news:
                membership.add([news.pop() for _ in range(min(len(news), rng.randint(1, 4)))])
                membership.view(Iteration(rng.randint(1, first + 3)), group_size)
            assert membership.events() == everything.events()
            view = membership.view(first, group_size)
            assert len(view.members) == sum(sizes)
            assert list(view.cell_of) == sorted(view.cell_of), "by rank"
            seen.add(view.digest)
            assert membership.view(Iteration(first + 5), group_size).digest == view.digest
    assert len(seen) == 1


def test_merges_that_were_stated_twice_seat_all_once() -> None:
    membership = Membership()
    membership.add([event(number) for number in range(5)])
    membership.add([met(0, 4, 3, 7), met(1, 4, 4, 8)])
    views = [membership.view(Iteration(at), 3) for at in (10, 11, 12)]
    assert len({view.digest for view in views}) == 1
    assert membership.status(peer(0)) == event(0)


# until then


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 20), st.integers(1, 20))
def test_era_keeps_what_counted_until_the_last_merge(foreign: list[int], one: int, more: int) -> None:
    main, era = Membership(), Era()
    main.add([event(20), event(21)])
    before = main.view(Iteration(1), 3).digest
    era.begin(one, main)
    main.add([event(number) for number in foreign])
    era.begin(one + more, main)
    until = one + more
    for at in range(1, until):
        kept = era.at(at)
        assert kept is not None
        assert kept.view(Iteration(at), 3).digest == before
    assert era.at(until) is None
    era.end(until - 1)
    assert era.at(until - 1) is not None
    era.end(until)
    assert era.at(until - 1) is None


def test_era_takes_in_what_its_own_part_says() -> None:
    main, era = Membership(), Era()
    main.add([event(1), event(2)])
    era.add([event(9)])
    era.begin(10, main)
    era.add([event(2, "lost", at=3)])
    kept = era.at(5)
    assert kept is not None
    assert kept.view(Iteration(5), 3).members == (peer(1),)
    assert main.view(Iteration(5), 3).members == (peer(1), peer(2))
