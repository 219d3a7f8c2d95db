from __future__ import annotations

import pytest

from marfl_peer.facts import (
    Fact,
    GroupAgreed,
    GroupFinished,
    IterationFinished,
    IterationStarted,
    LocalUpdateFinished,
    PeerStarted,
    PeerStopped,
    ViewChanged,
)
from marfl_peer.observe.position import Position

ME = "ab" * 20


def agreed(iteration: int, round: int) -> Fact:
    return GroupAgreed(iteration=iteration, round=round, line=0, attempt=1, leader=ME, members=(ME,))


def finished(iteration: int, round: int) -> Fact:
    return GroupFinished(
        iteration=iteration, round=round, line=0, outcome="complete", attempts=1, members=(ME,), absent=0, seconds=0.1
    )


def test_peer_that_begins_is_nowhere() -> None:
    position = Position()
    assert (position.peer_id, position.iteration, position.round, position.phase) == (None, 0, None, "entering")


def test_rounds_of_an_iteration_are_followed(samples: tuple[Fact, ...]) -> None:
    (end,) = (fact for fact in samples if isinstance(fact, IterationFinished))
    position, way = Position(), []
    for fact in (
        PeerStarted(peer_id=ME, incarnation=1, run_id="r", host="h", port=1, task="t"),
        ViewChanged(iteration=7, digest="", peers=4, grid=(2, 2), cell=0),
        IterationStarted(iteration=7),
        LocalUpdateFinished(iteration=7, samples=1, batches=1, loss=None, seconds=0.1),
        agreed(7, 1),
        finished(7, 1),
        finished(7, 2),
        end,
        PeerStopped(reason="finished", iteration=7, detail=""),
    ):
        position(fact)
        way.append((position.iteration, position.round, position.phase))
    assert position.peer_id == ME
    assert way == [
        (0, None, "entering"),
        (0, None, "entering"),
        (7, None, "training"),
        (7, 1, "averaging"),
        (7, 1, "averaging"),
        (7, 2, "averaging"),
        (7, 2, "averaging"),
        (7, None, "between iterations"),
        (7, None, "stopped: finished"),
    ]


@pytest.mark.parametrize("fact", [agreed(6, 2), finished(6, 2)])
def test_group_of_an_iteration_before_moves_nothing(fact: Fact) -> None:
    position = Position()
    position(IterationStarted(iteration=7))
    position(fact)
    assert position.round is None


def test_round_of_a_group_is_known_where_the_number_of_rounds_is_not() -> None:
    position = Position()
    position(IterationStarted(iteration=7))
    position(finished(7, 3))
    assert position.round == 3
