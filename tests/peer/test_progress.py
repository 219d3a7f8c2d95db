"""What status shows follows from the facts."""

from __future__ import annotations

import json

from marfl_peer.facts import (
    GroupFinished,
    IterationFinished,
    IterationStarted,
    LocalUpdateFinished,
    PeerStopped,
    PrivacySpent,
)
from marfl_peer.peer.progress import Progress

UPDATED = LocalUpdateFinished(iteration=4, samples=10, batches=1, loss=0.5, seconds=0.1)
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


def test_progress_of_a_peer_that_knows_nothing_yet() -> None:
    assert Progress().as_dict() == {
        "iteration": 0,
        "phase": "entering",
        "finished": 0,
        "test_accuracy": None,
        "train_loss": None,
        "iteration_seconds": None,
        "group": [],
        "groups": {},
    }


def test_phase_follows_the_iteration() -> None:
    progress, phases = Progress(), []
    for fact in (
        IterationStarted(iteration=4),
        UPDATED,
        FINISHED,
        PeerStopped(reason="finished", iteration=4, detail=""),
    ):
        progress.note(fact)
        phases.append(progress.phase)
    assert phases == ["training", "averaging", "between iterations", "stopped: finished"]


def test_progress_holds_what_was_last_and_counts_the_groups() -> None:
    progress = Progress()
    for fact in (IterationStarted(iteration=4), UPDATED, GROUP, GROUP, FINISHED, IterationStarted(iteration=5)):
        progress.note(fact)
    shown = progress.as_dict()
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["iteration"], shown["finished"], shown["test_accuracy"]) == (5, 4, 0.75)
    assert (shown["group"], shown["groups"]) == (["a", "b"], {"complete": 2})


def test_what_was_spent_is_shown_where_updates_are_private() -> None:
    progress = Progress()
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
