"""One fact of every class, with values that tell fields apart."""

from __future__ import annotations

import pytest

from marfl_peer import facts as f

SAMPLES: tuple[f.AnyFact, ...] = (
    f.PeerStarted(peer_id="ab" * 20, incarnation=2, run_id="demo", host="10.0.0.1", port=7700, task="digits"),
    f.ShardClaimed(shard=3, shards=16, samples=90),
    f.ViewChanged(iteration=1, digest="00", peers=16, grid=(4, 4), cell=5),
    f.IterationStarted(iteration=7),
    f.LocalUpdateFinished(iteration=7, samples=320, batches=10, loss=0.5, seconds=0.2),
    f.Distilled(
        iteration=7,
        round=1,
        line=4,
        asked=3,
        candidates=2,
        teachers=("cd" * 20,),
        divergence=0.75,
        follow=0.5,
        loss=0.6,
        bytes_received=1024,
        seconds=0.3,
    ),
    f.WaitEnded(iteration=7, round=1, waited_for="members", seconds=0.03, allowed_s=10.0, outcome="arrived"),
    f.GroupAgreed(iteration=7, round=1, line=2, attempt=1, leader="ab" * 20, members=("ab" * 20,)),
    f.GroupFinished(
        iteration=7, round=1, line=2, outcome="partial", attempts=3, members=("ab" * 20,), absent=1, seconds=0.4
    ),
    f.VectorSketched(iteration=7, round=1, weight=90, sketch=(0.5, -0.25)),
    f.CellTakenOver(iteration=7, round=2, cell=9, instead_of="cd" * 20),
    f.ResultSuperseded(iteration=7, round=2, line=1),
    f.Evaluated(iteration=7, correct=9.0, seen=10, loss=0.25, scope="share"),
    f.IterationFinished(
        iteration=7,
        seconds=1.5,
        weight=90,
        projection=(0.5,),
        train_loss=0.5,
        evaluated_iteration=6,
        test_accuracy=0.9312,
        test_loss=0.25,
        groups_complete=1,
        groups_partial=1,
        peers=16,
        bytes_sent={"tensor": 3 * 2**20, "control": 512},
        dht_lookups=0,
        dht_calls={"answered": 5, "missed": 1, "served": 4},
    ),
    f.IterationSkipped(iteration=8, reason="behind"),
    f.PeerSeen(peer_id="cd" * 20, event="lost", iteration=9, reason="silent"),
    f.MergeAgreed(iteration=12, own_iteration=9, other_iteration=4),
    f.PeersCounted(seen=14, known=17),
    f.UplinkMeasured(bytes_per_s=2.5e6),
    f.ConnectionRefused(code="other_run", remote="10.0.0.9:5", by_us=True, detail="run x"),
    f.RemoteFault(code="not_finite", remote="10.0.0.9:5", detail="NaN in chunk 3"),
    f.DatagramRejected(code="garbage", count=4),
    f.DhtLookedUp(purpose="group", records=4, seconds=0.1),
    f.DhtPublished(purpose="member", nodes=8, seconds=0.1),
    f.StateFetched(iteration=6, source="cd" * 20, sources=3, bytes_received=2048, seconds=0.3),
    f.StateSaved(iteration=7, bytes_written=4096, seconds=0.01),
    f.StateNotSaved(iteration=7, detail="no space left"),
    f.StateResumed(iteration=7, bytes_read=4096, epoch=1, offset=32, seconds=0.01),
    f.StateRejected(reason="damaged", detail="state.json is not what its checksum says"),
    f.PrivacySpent(
        iteration=7,
        epsilon_mate=39.8,
        epsilon_outsider=6.75,
        delta=1e-5,
        clip=0.25,
        noise_std=0.26,
        releases=7,
    ),
    f.LoopLagged(seconds=0.7),
    f.TargetReached(iteration=7, test_accuracy=0.951, target=0.95),
    f.PeerStopped(reason="finished", iteration=30, detail=""),
)


@pytest.fixture
def samples() -> tuple[f.AnyFact, ...]:
    """One fact of every class, in the order of their declaration."""
    return SAMPLES
