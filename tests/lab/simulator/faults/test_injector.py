"""Faults come when their trigger does, to whom it says."""

from __future__ import annotations

import pytest
from swarms import four, iterations, played

from marfl_peer.facts import GroupAgreed, PeerStarted
from marfl_peer.lab.simulator.faults.plan import Crash, Fault, Hold, Hosts, Leave, Newcomers, Pause, Role, Share
from marfl_peer.lab.simulator.faults.triggers import At, Edge, OnFact, OnFrame


def test_fault_at_a_time_comes_at_that_time() -> None:
    with played(four(Fault(what=Crash(), who=Hosts((2,)), when=At(time_s=0.625)))) as outcome:
        assert outcome.times("killed") == [0.625]
        assert outcome.happened == {"crash at a time": 1}
        assert outcome.finished() == [0, 1, 3]
        assert outcome.failures() == []


@pytest.mark.parametrize(("edge", "reached"), [("before", 2), ("after", 3)])
def test_crash_at_a_frame_is_on_its_near_or_its_far_side(edge: Edge, reached: int) -> None:
    """The third proposal of a leader is on its way when it dies, or never was."""
    when = OnFrame(direction="sends", message="Propose", iteration=2, nth=3, edge=edge)
    with played(four(Fault(what=Crash(), who=Role("leader"), when=when))) as outcome:
        [victim] = [player for player in outcome.players if player.stopped is None]
        assert iterations(victim) == [1]
        assert outcome.happened == {f"crash {edge} it sends Propose": 1}
        told = [fact for player in outcome.players for fact in player.facts if player is not victim]
        agreed = [fact for fact in told if isinstance(fact, GroupAgreed) and fact.iteration == 2]
        assert sum(fact.leader == victim.facts[0].peer_id for fact in agreed) == reached  # type: ignore[attr-defined]
        assert len(outcome.finished()) == 3
        assert outcome.failures() == []


@pytest.mark.parametrize(("edge", "agreed"), [("before", False), ("after", True)])
def test_crash_at_a_frame_that_is_read_is_before_or_after_it_acts(edge: Edge, agreed: bool) -> None:
    when = OnFrame(direction="receives", message="Propose", iteration=2, edge=edge)
    with played(four(Fault(what=Crash(), who=Role("member"), when=when))) as outcome:
        [victim] = [player for player in outcome.players if player.stopped is None]
        assert agreed == any(isinstance(fact, GroupAgreed) and fact.iteration == 2 for fact in victim.facts)


def test_crash_at_a_fact_makes_it_the_last() -> None:
    when = OnFact(fact="IterationFinished", iteration=2)
    with played(four(Fault(what=Crash(), who=Hosts((3,)), when=when))) as outcome:
        assert iterations(outcome.players[3]) == [1, 2]
        assert type(outcome.players[3].facts[-1]).__name__ == "IterationFinished"
        assert outcome.finished() == [0, 1, 2]


def test_frames_of_all_kinds_are_counted_from_the_first_on() -> None:
    when = OnFrame(direction="sends", nth=1)
    with played(four(Fault(what=Crash(restart_after_s=1.0), who=Hosts((2,)), when=when))) as outcome:
        assert outcome.happened == {"crash after it sends Hello": 1}
        starts = [fact for fact in outcome.players[2].facts if isinstance(fact, PeerStarted)]
        assert [fact.incarnation for fact in starts] == [1, 2]
        assert outcome.finished() == [0, 1, 2, 3]


def test_role_is_found_when_the_trigger_comes_and_hit_once() -> None:
    when = OnFrame(direction="sends", message="Propose", iteration=2, edge="before")
    with played(four(Fault(what=Crash(), who=Role("leader"), when=when))) as outcome:
        ids = {player.index: player.facts[0].peer_id for player in outcome.players}  # type: ignore[attr-defined]
        leader = min(ids, key=lambda index: ids[index])
        assert [player.index for player in outcome.players if player.stopped is None] == [leader]
        assert len(outcome.times("killed")) == 1


def test_share_is_drawn_from_those_that_run() -> None:
    faults = (
        Fault(what=Crash(), who=Hosts((0,)), when=At(time_s=0.4)),
        Fault(what=Leave(), who=Share(0.5), when=At(time_s=0.5)),
    )
    with played(four(*faults, peers=5)) as outcome:
        left = [p.index for p in outcome.players if p.stopped is not None and p.stopped.reason == "left"]
        assert len(left) == 2
        assert 0 not in left
        assert len(outcome.finished()) == 2


def test_connection_stands_still_while_others_go_on() -> None:
    when = OnFrame(direction="sends", message="Part.scatter", iteration=2, edge="before")
    with played(four(Fault(what=Hold(for_s=1.5), who=Hosts((1,)), when=when))) as outcome:
        assert outcome.happened == {"hold before it sends Part.scatter": 1}
        held, let_go = outcome.times("fault: hold")
        assert let_go == pytest.approx(held + 1.5)
        finished = [noted.time for noted in outcome.notes if noted.what == "IterationFinished"]
        second = sorted(finished)[4:8]
        assert min(second) >= held + 1.5
        assert outcome.finished() == [0, 1, 2, 3]


def test_fault_whose_trigger_never_comes_does_nothing() -> None:
    faults = (
        Fault(what=Crash(), who=Hosts((1,)), when=OnFrame(direction="sends", message="Take", iteration=1)),
        Fault(what=Pause(for_s=1.0), who=Hosts((77,)), when=At(time_s=0.1)),
    )
    with played(four(*faults)) as outcome:
        assert outcome.happened == {}
        assert outcome.finished() == [0, 1, 2, 3]


def test_newcomers_are_watched_too() -> None:
    faults = (
        Fault(what=Newcomers(count=1), when=At(time_s=0.4)),
        Fault(what=Crash(), who=Hosts((4,)), when=OnFrame(direction="sends", message="JoinRequest")),
    )
    with played(four(*faults)) as outcome:
        assert outcome.happened == {"newcomers at a time": 1, "crash after it sends JoinRequest": 1}
        assert outcome.finished() == [0, 1, 2, 3]
