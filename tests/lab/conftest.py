"""Facts for the tests of this room."""

from __future__ import annotations

import pytest

from marfl_peer.facts import (
    Evaluated,
    GroupAgreed,
    GroupFinished,
    GroupOutcome,
    IterationFinished,
    LocalUpdateFinished,
    PeerStarted,
    PeerStopped,
    VectorSketched,
    ViewChanged,
)


class Told:
    """Makes facts, with defaults for what a test does not care about."""

    @staticmethod
    def finished(
        iteration: int,
        *,
        seconds: float = 1.0,
        projection: tuple[float, ...] = (1.0,),
        train_loss: float | None = None,
        told: tuple[int, float] | None = None,
        lookups: int = 0,
        **bytes_sent: int,
    ) -> IterationFinished:
        return IterationFinished(
            iteration=iteration,
            seconds=seconds,
            weight=1,
            projection=projection,
            train_loss=train_loss,
            evaluated_iteration=None if told is None else told[0],
            test_accuracy=None if told is None else told[1],
            test_loss=None,
            groups_complete=0,
            groups_partial=0,
            peers=1,
            bytes_sent=bytes_sent,
            dht_lookups=lookups,
        )

    @staticmethod
    def group(iteration: int, round: int, line: int, outcome: GroupOutcome, *, absent: int = 0) -> GroupFinished:
        return GroupFinished(
            iteration=iteration,
            round=round,
            line=line,
            outcome=outcome,
            attempts=1,
            members=(),
            absent=absent,
            seconds=0.1,
        )

    @staticmethod
    def sketched(iteration: int, round: int, *sketch: float, weight: int = 1) -> VectorSketched:
        return VectorSketched(iteration=iteration, round=round, weight=weight, sketch=sketch)

    @staticmethod
    def started(incarnation: int = 1) -> PeerStarted:
        return PeerStarted(
            peer_id="a" * 40,
            incarnation=incarnation,
            run_id="r",
            host="127.0.0.1",
            port=1,
            task="digits",
            vector_bytes=96,
        )

    @staticmethod
    def agreed(iteration: int, round: int) -> GroupAgreed:
        return GroupAgreed(iteration=iteration, round=round, line=0, attempt=1, leader="a", members=())

    @staticmethod
    def updated(iteration: int, loss: float | None, samples: int) -> LocalUpdateFinished:
        return LocalUpdateFinished(iteration=iteration, samples=samples, batches=1, loss=loss, seconds=0.1)

    @staticmethod
    def evaluated(iteration: int, correct: float, seen: int, *, full: bool = False) -> Evaluated:
        return Evaluated(iteration=iteration, correct=correct, seen=seen, loss=0.1, scope="full" if full else "share")

    @staticmethod
    def view(iteration: int, peers: int, grid: tuple[int, ...]) -> ViewChanged:
        return ViewChanged(iteration=iteration, digest="d", peers=peers, grid=grid, cell=0)

    @staticmethod
    def stopped(reason: str, detail: str = "") -> PeerStopped:
        return PeerStopped(reason=reason, iteration=1, detail=detail)


@pytest.fixture
def told() -> type[Told]:
    return Told
