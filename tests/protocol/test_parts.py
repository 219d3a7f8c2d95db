"""Every part comes from one source, none is forgotten, whoever falls away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.ids import PeerId
from marfl_peer.protocol.parts import WINDOW, PartQueue

ONE, OTHER, THIRD = (PeerId(digit * 40) for digit in "123")


def queue_of(parts: int, *sources: PeerId) -> PartQueue:
    queue = PartQueue(total_bytes=10 * parts - 3, part_bytes=10, patience_s=3.0)
    for source in sources:
        queue.add(source, now=0.0)
    return queue


def test_parts_are_handed_out_in_turns_as_far_as_the_windows_go() -> None:
    queue = queue_of(20, ONE, OTHER)
    handed = queue.hand_out(now=0.0)
    assert handed == [((ONE, OTHER)[index % 2], 10 * index) for index in range(2 * WINDOW)]
    assert queue.hand_out(now=0.0) == []
    queue.arrived(ONE, 0, now=1.0)
    assert queue.hand_out(now=1.0) == [(ONE, 20 * WINDOW)]
    assert not queue.is_whole


def test_what_a_lost_source_did_not_give_comes_from_others_and_what_it_gave_stays() -> None:
    queue = queue_of(4, ONE, OTHER)
    assert queue.hand_out(now=0.0) == [(ONE, 0), (OTHER, 10), (ONE, 20), (OTHER, 30)]
    queue.arrived(ONE, 0, now=0.1)
    queue.drop(ONE)
    assert queue.hand_out(now=0.2) == [(OTHER, 20)]
    assert not queue.awaits(ONE, 20)
    for offset in (10, 20, 30):
        queue.arrived(OTHER, offset, now=0.3)
    assert queue.is_whole
    assert queue.given_by == {0: ONE, 10: OTHER, 20: OTHER, 30: OTHER}
    assert queue.shares() == [(OTHER, 3), (ONE, 1)]
    queue.add(ONE, now=0.4)
    assert queue.sources == [OTHER], "it does not come back"


def test_source_that_gives_nothing_is_stalled_and_one_that_was_asked_nothing_is_not() -> None:
    queue = queue_of(1, ONE, OTHER)
    assert queue.next_deadline() is None
    assert queue.hand_out(now=5.0) == [(ONE, 0)]
    assert queue.next_deadline() == 8.0
    assert queue.stalled(now=7.9) == []
    assert queue.stalled(now=8.0) == [ONE]
    queue.drop(ONE)
    assert queue.hand_out(now=8.0) == [(OTHER, 0)], "its time begins when it is asked"
    assert queue.stalled(now=10.9) == []


def test_nothing_to_fetch_is_whole() -> None:
    assert PartQueue(total_bytes=0, part_bytes=10, patience_s=1.0).is_whole


@given(st.integers(1, 40), st.lists(st.sampled_from(["arrive", "drop", "add"]), max_size=80), st.data())
def test_every_part_is_given_once_as_long_as_there_is_a_source(parts: int, steps: list[str], data) -> None:
    queue = queue_of(parts, ONE)
    spare = [OTHER, THIRD]
    outstanding: list[tuple[PeerId, int]] = []
    for step in [*steps, *["arrive"] * parts]:
        outstanding += queue.hand_out(now=0.0)
        match step:
            case "arrive" if outstanding:
                source, offset = outstanding.pop(data.draw(st.integers(0, len(outstanding) - 1)))
                assert queue.awaits(source, offset)
                queue.arrived(source, offset, now=0.0)
            case "drop" if len(queue.sources) > 1:
                gone = queue.sources[0]
                queue.drop(gone)
                outstanding = [(source, offset) for source, offset in outstanding if source != gone]
            case "add" if spare:
                queue.add(spare.pop(), now=0.0)
        asked = [offset for _, offset in outstanding]
        assert len(set(asked)) == len(asked)
        assert not set(asked) & set(queue.given_by)
    assert queue.is_whole
    assert sorted(queue.given_by) == [10 * number for number in range(parts)]
