from __future__ import annotations

from dataclasses import replace

import pytest
from broken import NEWCOMER, scenario, violations
from courts import TIME, Court, agreed, ballot, member, vector
from torch import Tensor

from marfl_peer.averaging.delayed import correct_
from marfl_peer.averaging.vector import VectorSchema
from marfl_peer.facts import IterationSkipped, MergeAgreed
from marfl_peer.lab.simulator.faults.plan import Fault, Hosts, Pause
from marfl_peer.lab.simulator.faults.triggers import OnFact
from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.invariants.freshness import Freshness
from marfl_peer.lab.simulator.invariants.scene import Finished, Opened, Scene, Told, Updated
from marfl_peer.lab.simulator.run import run
from marfl_peer.peer import overlap
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


OVERLAPPED = replace(scenario(iterations=4), overlap=True)


def test_freshness_of_an_update_that_was_not_moved_by_what_was_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "correct_", lambda *_, **__: None)
    assert any("another vector than its model's" in one.message for one in run(OVERLAPPED).violations)


def test_freshness_of_momentum_that_was_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    def theta_alone(schema: VectorSchema, trained: Tensor, *, snapshot: Tensor, agreed: Tensor) -> None:
        momentum = trained[schema.theta_length :].clone()
        correct_(schema, trained, snapshot=snapshot, agreed=agreed)
        trained[schema.theta_length :] = momentum

    monkeypatch.setattr(overlap, "correct_", theta_alone)
    assert any("another vector than its model's" in one.message for one in run(OVERLAPPED).violations)


def test_freshness_of_an_update_that_is_kept_though_the_state_was_taken_from_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pause = Fault(what=Pause(for_s=6.0), when=OnFact(fact="IterationStarted", iteration=3), who=Hosts((4,)))
    late = replace(scenario(pause, iterations=12, batch_s=0.6), overlap=True)
    assert run(late).violations == []
    monkeypatch.setattr(overlap.Overlap, "give_up", lambda self: None)
    assert any("from before it fetched the state" in one.message for one in run(late).violations)


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
