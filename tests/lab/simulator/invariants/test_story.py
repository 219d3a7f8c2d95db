from __future__ import annotations

from courts import peer

from marfl_peer.facts import DhtLookedUp, GroupAgreed, GroupFinished, IterationStarted
from marfl_peer.lab.simulator.invariants.story import TOLD, Story, describe


def test_story_is_of_one_iteration_and_of_all_that_went_wrong() -> None:
    story = Story()
    story.add(1.0, 0, IterationStarted(iteration=1))
    story.add(2.0, -1, "cut: peers 1 from 3 others")
    story.add(3.0, 2, IterationStarted(iteration=7))
    story.add(3.5, 2, DhtLookedUp(purpose="refresh", records=0, seconds=0.1))
    told = story.last(iteration=7)
    assert [line.split("s  ")[1].split()[0] for line in told] == ["network", "peer"]
    assert len(story.last()) == 3


def test_story_is_no_longer_than_one_can_read() -> None:
    story = Story()
    for number in range(200):
        story.add(float(number), 0, IterationStarted(iteration=1))
    assert len(story.last(iteration=1)) == TOLD


def test_story_of_a_group_fits_in_a_line() -> None:
    agreed = GroupAgreed(iteration=2, round=1, line=4, attempt=3, leader=peer(1), members=(peer(1), peer(2)))
    assert describe(agreed) == "GroupAgreed 2/1 line 4 ballot 3/00000000 of {00000000 00000000}"
    finished = GroupFinished(
        iteration=2, round=1, line=4, outcome="skipped", attempts=1, members=(), absent=2, seconds=1.5
    )
    assert describe(finished).startswith("GroupFinished 2/1 line 4 skipped, no ballot")
