from __future__ import annotations

import pytest
from broken import NEWCOMER, scenario, violations
from courts import TIME, Court, agreed, ballot, member, vector

from marfl_peer.facts import IterationSkipped, MergeAgreed
from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.invariants.freshness import Freshness
from marfl_peer.lab.simulator.invariants.scene import Finished, Opened, Scene, Told, Updated
from marfl_peer.peer.iterations import LEFT_OUT

OLD, TRAINED = vector(1, 2), vector(3, 4)


@pytest.mark.parametrize(
    ("bug", "what"),
    [
        ("momentum not sent", "another vector than its model's"),
        ("every peer alike", "has weight 1, it owns"),
    ],
)
def test_freshness_of_what_is_brought(bug: str, what: str) -> None:
    assert any(what in one.message for one in violations(bug, scenario()))


@pytest.mark.parametrize("bug", ["older state accepted", "behind with weight"])
def test_freshness_of_a_peer_that_was_behind(bug: str) -> None:
    found = violations(bug, scenario(NEWCOMER, iterations=8))
    assert any("nobody agreed on" in one.message or "did not train from" in one.message for one in found)


def story_of_a_merge(court: Court, *, first: int, reason: str, has_trained: bool) -> list[Scene]:
    """One agrees on a state after iteration 1, leaves 2 and 3 out, and brings an update to 4. Where it `has_trained`,
    it made it for iteration 2, before it heard of the merge."""
    life, view = court.lives[0], court.view

    def opened(iteration: int, trained: bool = False) -> Opened:
        return Opened(time=TIME, life=life, iteration=iteration, view=view, base=TRAINED if trained else OLD)

    def updated(iteration: int) -> Updated:
        return Updated(time=TIME, life=life, iteration=iteration, batches=2, samples_owned=1, vector=TRAINED)

    finished = Finished(
        time=TIME, life=life, iteration=1, view=view, weight=4, vector=OLD, model=OLD, place=sight.Place(0, 0, 0)
    )
    met = MergeAgreed(iteration=first, own_iteration=1, other_iteration=2)
    skipped = [IterationSkipped(iteration=iteration, reason=reason) for iteration in (2, 3)]
    merging = [Told(time=TIME, life=life, fact=fact) for fact in (met, *skipped)]
    brought = agreed(court, 0, court.line(iteration=4), ballot(), (member(0), member(1)), TRAINED)
    if has_trained:
        return [finished, opened(2), updated(2), *merging, opened(4, trained=True), brought]
    return [finished, *merging, opened(4), updated(4), brought]


@pytest.mark.parametrize("has_trained", [False, True])
@pytest.mark.parametrize(
    ("first", "reason", "is_fresh"),
    [(5, LEFT_OUT, True), (4, LEFT_OUT, False), (5, "nobody could give the state", False)],
)
def test_freshness_through_numbers_that_a_merge_leaves_out(
    monkeypatch: pytest.MonkeyPatch, first: int, reason: str, has_trained: bool, is_fresh: bool
) -> None:
    """Only a merge leaves them out, and not the one before it."""
    court = Court()
    monkeypatch.setattr(sight, "agreed_vector", lambda peer: OLD)
    court.lives[0].player.peer = object()  # type: ignore[assignment]  # seen by the line above only
    checker = Freshness(court.trial)
    for scene in story_of_a_merge(court, first=first, reason=reason, has_trained=has_trained):
        checker.see(scene)
    assert (court.said() == []) is is_fresh
