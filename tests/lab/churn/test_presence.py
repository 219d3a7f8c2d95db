import pytest

from marfl_peer.facts import IterationSkipped, IterationStarted
from marfl_peer.lab.churn.presence import Presence


def test_those_within_run_have_begun_and_are_not_far_behind(told) -> None:
    presence = Presence(5)
    for index in range(4):
        presence.heard(index, told.started())
    presence.heard(0, IterationStarted(iteration=4))
    presence.heard(1, IterationStarted(iteration=3))
    presence.heard(2, IterationStarted(iteration=2))
    assert presence.newest == 4
    assert presence.within(4) == [0, 1], "2 is too far behind, 3 has not got in, 4 does not run"
    presence.stopped(1, 3)
    assert presence.within(4) == [0]
    presence.exited(0)
    assert presence.within(4) == []


def test_founders_are_within_before_they_have_begun(told) -> None:
    presence = Presence(3)
    presence.heard(0, told.started())
    presence.heard(1, told.started())
    presence.heard(0, IterationStarted(iteration=1))
    assert presence.within(1) == [0, 1]


def test_most_of_those_who_run_and_are_in_are_through(told) -> None:
    presence = Presence(6)
    for index in range(6):
        presence.heard(index, told.started())
    for index in range(5):
        presence.heard(index, IterationStarted(iteration=1))
    presence.heard(0, told.finished(1))
    presence.stopped(2, 1)
    assert not presence.are_through(1)
    presence.heard(1, IterationSkipped(iteration=1, reason=""))
    assert not presence.are_through(1), "two of four"
    presence.heard(3, told.finished(1))
    assert presence.are_through(1), "5 is on its way in"
    assert not presence.are_through(2)


def test_new_life_begins_from_nothing(told) -> None:
    presence = Presence(1)
    presence.heard(0, told.started())
    presence.heard(0, IterationStarted(iteration=5))
    presence.exited(0)
    presence.heard(0, told.started())
    assert (presence.peers[0].begun, presence.within(5)) == (0, [])


@pytest.mark.parametrize("reason", ["finished", "target_reached", "budget_reached"])
def test_run_is_over_when_a_peer_has_come_to_its_end(told, reason: str) -> None:
    presence = Presence(2)
    presence.heard(0, told.stopped("left"))
    assert not presence.is_over
    presence.heard(1, told.stopped(reason))
    assert presence.is_over


def test_others_do_not_wait_for_one_on_its_way_back(told) -> None:
    presence = Presence(2)
    for index in (0, 1):
        presence.heard(index, told.started())
        presence.heard(index, IterationStarted(iteration=2))
    presence.stopped(1, 2)
    presence.peers[1].is_stopped = False
    presence.heard(0, told.finished(2))
    assert presence.are_through(2)
    presence.heard(1, IterationStarted(iteration=3))
    presence.heard(0, told.finished(3))
    assert not presence.are_through(3)
