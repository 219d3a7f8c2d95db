"""When a fault comes."""

from __future__ import annotations

import pytest

from marfl_peer.facts import GroupFinished, IterationFinished, IterationStarted
from marfl_peer.lab.simulator.faults.triggers import (
    ANY,
    FACTS,
    MESSAGES,
    At,
    OnFact,
    OnFrame,
    iteration_of,
    step_of,
)
from marfl_peer.protocol.messages import Ballot, Heartbeat, LineName, Part, Ready

NAME = LineName(iteration=3, round=1, line=0)
BALLOT = Ballot(attempt=1, leader="a" * 40)
READY = Ready(name=NAME, ballot=BALLOT)
GATHER = Part(name=NAME, ballot=BALLOT, stage="gather", offset=0)


def test_steps_and_iterations_are_read_off_messages() -> None:
    assert (step_of(READY), iteration_of(READY)) == ("Ready", 3)
    assert (step_of(GATHER), iteration_of(GATHER)) == ("Part.gather", 3)
    assert (step_of(Heartbeat()), iteration_of(Heartbeat())) == ("Heartbeat", None)


@pytest.mark.parametrize(
    ("message", "iteration", "counted"),
    [
        (ANY, None, (True, True, True)),
        (ANY, 3, (True, True, False)),
        (ANY, 2, (False, False, False)),
        ("Ready", 3, (True, False, False)),
        ("Part", None, (False, True, False)),
        ("Part.gather", 3, (False, True, False)),
        ("Part.scatter", 3, (False, False, False)),
        ("Heartbeat", None, (False, False, True)),
        ("Heartbeat", 3, (False, False, False)),
    ],
)
def test_frames_are_counted_by_step_and_iteration(
    message: str, iteration: int | None, counted: tuple[bool, ...]
) -> None:
    trigger = OnFrame(direction="sends", message=message, iteration=iteration)
    assert tuple(trigger.counts(sent) for sent in (READY, GATHER, Heartbeat())) == counted


def test_facts_are_counted_by_class_and_iteration() -> None:
    fact = IterationStarted(iteration=4)
    assert OnFact(fact="IterationStarted").counts(fact)
    assert OnFact(fact="IterationStarted", iteration=4).counts(fact)
    assert not OnFact(fact="IterationStarted", iteration=5).counts(fact)
    assert not OnFact(fact="IterationFinished").counts(fact)


def test_everything_that_can_be_named_is_listed() -> None:
    assert {"Ready", "ResultPart", "Part.gather", "StartProposal"} <= set(MESSAGES)
    assert {GroupFinished.__name__, IterationFinished.__name__} <= set(FACTS)


def test_triggers_read_like_sentences() -> None:
    assert str(At(time_s=1.5)) == "at 1.500 s"
    assert str(OnFrame(direction="sends", message="Ready", iteration=2, nth=3, edge="before")) == (
        "before it sends Ready no. 3 of iteration 2"
    )
    assert str(OnFact(fact="GroupAgreed")) == "as it tells GroupAgreed no. 1"
