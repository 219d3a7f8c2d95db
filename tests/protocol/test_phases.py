from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.errors import LocalProtocolError
from marfl_peer.protocol.phases import TRANSITIONS, Course, Event, Phase


def test_member_starts_absent_and_can_only_arrive() -> None:
    assert Course().phase is Phase.ABSENT
    assert [event for event in Event if Course().allows(event)] == [Event.ARRIVED]


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_its_row_and_only_the_last_has_no_way_out(phase: Phase) -> None:
    assert (TRANSITIONS[phase] == {}) == (phase is Phase.FINISHED)


def test_every_event_is_legal_somewhere_and_every_phase_can_be_reached() -> None:
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)
    assert {after for row in TRANSITIONS.values() for after in row.values()} == set(Phase) - {Phase.ABSENT}


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.EXCHANGING, Phase.FETCHING])
def test_who_is_here_can_always_give_up(phase: Phase) -> None:
    assert TRANSITIONS[phase][Event.GAVE_UP] is Phase.FINISHED


def test_result_that_is_fetched_can_be_overtaken_by_a_ballot_but_not_by_another_fetch() -> None:
    course = Course()
    for event in (Event.ARRIVED, Event.PROMISED, Event.TOOK):
        course.go(event)
    assert course.phase is Phase.FETCHING
    assert not course.allows(Event.TOOK)
    assert not course.allows(Event.EXCHANGED)
    course.go(Event.PROMISED)
    assert course.phase is Phase.EXCHANGING


@given(st.lists(st.sampled_from(Event)))
def test_illegal_event_raises_with_its_story_and_changes_nothing(events: list[Event]) -> None:
    course = Course()
    for event in events:
        before, past = course.phase, list(course.events)
        if course.allows(event):
            course.go(event)
            assert course.phase is TRANSITIONS[before][event]
            assert course.events == [*past, event]
        else:
            with pytest.raises(LocalProtocolError, match=f"{event.name} while {before.name}"):
                course.go(event)
            assert (course.phase, course.events) == (before, past)


def test_story_names_the_events_before() -> None:
    course = Course()
    course.go(Event.ARRIVED)
    course.go(Event.GAVE_UP)
    with pytest.raises(LocalProtocolError, match="FETCHED while FINISHED, after ARRIVED, GAVE_UP"):
        course.go(Event.FETCHED)
