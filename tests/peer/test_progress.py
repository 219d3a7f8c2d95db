"""What status shows follows from the facts."""

from __future__ import annotations

import msgspec

from marfl_peer.clock import Clock
from marfl_peer.facts import (
    GroupAgreed,
    GroupFinished,
    IterationFinished,
    IterationStarted,
    LocalUpdateFinished,
    PeerSeen,
    PrivacySpent,
)
from marfl_peer.observe.status import Failure
from marfl_peer.peer.progress import RATE_OVER, Progress

UPDATED = LocalUpdateFinished(iteration=4, samples=10, batches=1, loss=0.5, seconds=0.1)
LOST = PeerSeen(peer_id="cd" * 20, event="lost", iteration=4, reason="silent")
GROUP = GroupFinished(
    iteration=4, round=1, line=0, outcome="complete", attempts=1, members=("a", "b"), absent=0, seconds=0.2
)
FINISHED = IterationFinished(
    iteration=4,
    seconds=1.5,
    weight=10,
    projection=(1.0,),
    train_loss=0.5,
    evaluated_iteration=3,
    test_accuracy=0.75,
    test_loss=None,
    groups_complete=1,
    groups_partial=0,
    peers=2,
    bytes_sent={},
    dht_lookups=0,
)


class Watch(Clock):
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return 1_000_000.0 + self.time


def test_progress_of_a_peer_that_knows_nothing_yet() -> None:
    assert Progress(Watch()).as_dict() == {
        "iteration": 0,
        "phase": "entering",
        "round": None,
        "rounds": 0,
        "finished": 0,
        "test_accuracy": None,
        "evaluated_iteration": None,
        "train_loss": None,
        "iteration_seconds": None,
        "iterations_per_minute": None,
        "group": (),
        "groups": {},
        "last_failure": None,
        "epsilon_mate": None,
        "epsilon_outsider": None,
        "delta": None,
        "releases": None,
    }


def test_progress_holds_what_was_last_and_counts_the_groups() -> None:
    progress = Progress(Watch())
    for fact in (IterationStarted(iteration=4), UPDATED, GROUP, GROUP, FINISHED, IterationStarted(iteration=5)):
        progress.note(fact)
    shown = progress.as_dict()
    assert (shown["iteration"], shown["finished"], shown["test_accuracy"]) == (5, 4, 0.75)
    assert (shown["group"], shown["groups"]) == (("a", "b"), {"complete": 2})


def test_group_is_known_while_it_exchanges() -> None:
    progress = Progress(Watch())
    progress.note(IterationStarted(iteration=4))
    progress.note(GroupAgreed(iteration=4, round=2, line=0, attempt=1, leader="c", members=("c", "d")))
    assert (progress.as_dict()["group"], progress.as_dict()["round"]) == (("c", "d"), 2)


def test_accuracy_is_that_of_the_last_test() -> None:
    progress = Progress(Watch())
    progress.note(FINISHED)
    progress.note(msgspec.structs.replace(FINISHED, iteration=5, test_accuracy=None, evaluated_iteration=None))
    shown = progress.as_dict()
    assert (shown["finished"], shown["test_accuracy"], shown["evaluated_iteration"]) == (5, 0.75, 3)


def test_rate_is_that_of_the_last_iterations() -> None:
    clock = Watch()
    progress, rates = Progress(clock), []
    for seconds in (5.0, 10.0, *(2.0,) * (RATE_OVER + 3)):
        clock.time += seconds
        progress.note(FINISHED)
        rates.append(progress.as_dict()["iterations_per_minute"])
    assert rates[:2] == [None, 6.0]
    assert rates[-1] == 30.0


def test_last_failure_is_told_with_its_time() -> None:
    progress = Progress(Watch())
    for fact in (IterationStarted(iteration=4), LOST, GROUP):
        progress.note(fact)
    assert progress.failure == Failure(at=1_000_100.0, iteration=4, code="peer_lost", detail="cdcdcdcd: silent")


def test_what_was_spent_is_shown_where_updates_are_private() -> None:
    progress = Progress(Watch())
    progress.note(
        PrivacySpent(
            iteration=2,
            epsilon_mate=9.0,
            epsilon_outsider=2.0,
            delta=1e-5,
            clip=0.1,
            noise_std=0.1,
            releases=2,
        )
    )
    shown = progress.as_dict()
    assert [shown[name] for name in ("epsilon_mate", "epsilon_outsider", "delta", "releases")] == [9.0, 2.0, 1e-5, 2]
