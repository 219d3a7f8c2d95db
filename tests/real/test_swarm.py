"""`marfl-peer swarm` as a user runs it: it learns, agrees, tells, stops when it should, and leaves a model behind."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch

from marfl_peer.averaging.sketch import sketch
from marfl_peer.averaging.vector import VectorSchema, pack, unpack_
from marfl_peer.config import Settings
from marfl_peer.facts import AnyFact, IterationFinished, PeerStarted, PeerStopped, TargetReached, WaitEnded
from marfl_peer.learning.partition import split
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.learning.trainer import Trainer

PEERS, SEED = 16, 3
SUMMARY_KEYS = {
    *("run_id", "task", "peers", "group_size", "grid", "exchange", "aggregation", "codec"),
    *("iterations", "bytes_sent_per_peer_per_iteration", "dht_lookups_per_peer_per_iteration"),
    *("settings", "command", "churn_plan", "vector_bytes"),
    *("peers_started", "peers_finished", "peers_lost", "churn", "wall_seconds", "pss_mib_max", "pss_mib_total"),
}
ROW_KEYS = {
    *("iteration", "test_accuracy_mean", "train_loss_mean", "disagreement", "seconds", "bytes_sent"),
    *("groups_complete", "groups_partial", "peers_alive", "peers_skipped"),
    *("mixing_residual", "epsilon_mate", "epsilon_outsider"),
}
FactsOf = Callable[[Path], list[AnyFact]]


def folders(state_dir: Path) -> list[Path]:
    """Those of the peers of the only run below it."""
    return sorted(state_dir.glob("*/peer-*"))


def finished(facts: list[AnyFact]) -> dict[int, IterationFinished]:
    return {fact.iteration: fact for fact in facts if isinstance(fact, IterationFinished)}


def ending(facts: list[AnyFact]) -> PeerStopped:
    return next(fact for fact in facts if isinstance(fact, PeerStopped))


def mean_of_all(iterations: int) -> list[tuple[float, ...]]:
    """The sketches of the weighted mean of 16 local updates, iteration by iteration, without any network."""
    settings = Settings(seed=SEED, shards=PEERS)
    task = Digits()
    data = task.load(None)
    shards = split(data.train_labels, data.test_labels, shards=PEERS, scheme="iid", seed=SEED)
    trainers = [Trainer(task, data, shard, settings) for shard in shards]
    schema = VectorSchema.of(trainers[0].model, momentum=True)
    total = sum(trainer.samples for trainer in trainers)
    sketches = []
    for _ in range(iterations):
        mean, own = torch.zeros(schema.length, dtype=torch.float64), torch.empty(schema.length)
        for trainer in trainers:
            trainer.local_update()
            pack(schema, trainer.model, trainer.optimizer, own)
            mean += own.double() * trainer.samples / total
        for trainer in trainers:
            unpack_(schema, mean.float(), trainer.model, trainer.optimizer)
        sketches.append(sketch(mean.float()[: schema.theta_length], seed=SEED))
    return sketches


def mean_with_overlap(peers: int, iterations: int) -> list[tuple[float, ...]]:
    """The same where every local update goes on from what its peer brought before, moved by what all agreed on."""
    settings = Settings(seed=SEED, shards=peers)
    task = Digits()
    data = task.load(None)
    shards = split(data.train_labels, data.test_labels, shards=peers, scheme="iid", seed=SEED)
    trainers = [Trainer(task, data, shard, settings) for shard in shards]
    schema = VectorSchema.of(trainers[0].model, momentum=True)
    total = sum(trainer.samples for trainer in trainers)
    brought = [torch.empty(schema.length) for _ in trainers]
    mean: torch.Tensor | None = None
    sketches = []
    for _ in range(iterations):
        for trainer, vector in zip(trainers, brought, strict=True):
            trainer.local_update()
            trained = torch.empty(schema.length)
            pack(schema, trainer.model, trainer.optimizer, trained)
            vector.copy_(trained if mean is None else trained + (mean - vector))
            unpack_(schema, vector, trainer.model, trainer.optimizer)
        weighted = [
            vector.double() * trainer.samples / total for trainer, vector in zip(trainers, brought, strict=True)
        ]
        mean = torch.stack(weighted).sum(0).float()
        sketches.append(sketch(mean[: schema.theta_length], seed=SEED))
    return sketches


def test_swarm_with_overlap_agrees_on_what_the_formula_gives(
    start: Callable, facts_of: FactsOf, tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    swarm = start(
        *("swarm", "--peers", "4", "--group-size", "2", "--seed", str(SEED), "--iterations", "5", "--overlap"),
        *("--plain", "--state-dir", str(state_dir)),
    )
    assert swarm.end() == 0, swarm.log.read_text()
    journals = [facts_of(folder) for folder in folders(state_dir)]
    assert [ending(facts).reason for facts in journals] == ["finished"] * 4
    for iteration, expected in enumerate(mean_with_overlap(4, 5), 1):
        for facts in journals:
            found = finished(facts)[iteration].projection
            assert math.dist(found, expected) <= 1e-5 * math.hypot(*expected)


def test_swarm_learns_the_exact_mean_stops_at_the_target_and_leaves_a_model(
    start: Callable, run: Callable, facts_of: FactsOf, tmp_path: Path
) -> None:
    state_dir, summary_path = tmp_path / "state", tmp_path / "summary.json"
    swarm = start(
        *("swarm", "--peers", str(PEERS), "--seed", str(SEED), "--iterations", "60", "--target-accuracy", "0.93"),
        *("--plain", "--state-dir", str(state_dir), "--summary", str(summary_path)),
    )
    assert swarm.end() == 0, swarm.log.read_text()
    summary = json.loads(summary_path.read_text())
    journals = [facts_of(folder) for folder in folders(state_dir)]

    # everybody stopped, in the iteration after the one in which the target was reached
    last = len(summary["iterations"])
    assert last < 60
    assert len(journals) == PEERS
    stopped = ending(journals[0])
    assert [ending(facts) for facts in journals] == [stopped] * PEERS
    assert (stopped.reason, stopped.iteration) == ("target_reached", last)
    reached = [fact for facts in journals for fact in facts if isinstance(fact, TargetReached)]
    assert len(reached) == PEERS
    assert len({fact.test_accuracy for fact in reached}) == 1

    assert set(summary) == SUMMARY_KEYS
    assert all(set(row) == ROW_KEYS for row in summary["iterations"])
    assert (summary["grid"], summary["peers_started"], summary["peers_finished"], summary["peers_lost"]) == (
        *([4, 4], PEERS, PEERS),
        0,
    )
    assert [row["iteration"] for row in summary["iterations"]] == list(range(1, last + 1))
    assert max(row["disagreement"] for row in summary["iterations"]) <= 1e-5
    assert max(row["test_accuracy_mean"] or 0 for row in summary["iterations"]) >= 0.93
    assert all(row["groups_complete"] == 8 and row["groups_partial"] == 0 for row in summary["iterations"])

    # what they agreed on is the mean of all, to float rounding
    for iteration, expected in enumerate(mean_of_all(3), 1):
        for facts in journals:
            found = finished(facts)[iteration].projection
            assert math.dist(found, expected) <= 1e-5 * math.hypot(*expected)

    # nobody asked the DHT once the groups were known, and nobody waited in vain
    for facts in journals:
        lookups = [fact.dht_lookups for fact in finished(facts).values()]
        assert lookups[0] > 0
        assert lookups[1:] == [0] * (last - 1)
        assert all(fact.outcome == "arrived" for fact in facts if isinstance(fact, WaitEnded))

    # the model that a peer saved is one for load_state_dict, and as good as was said
    exported = run("export", "--state-dir", str(folders(state_dir)[5]), "model.safetensors")
    assert exported.returncode == 0, exported.stderr
    task = Digits()
    model = task.build_model()
    model.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    data = task.load(None)
    with torch.no_grad():
        correct = task.correct(model.eval()(task.prepare(data.test_inputs)), data.test_labels)
    assert float(correct) / len(data.test_labels) >= 0.92


def test_swarm_that_is_interrupted_drains_and_writes_its_summary(
    start: Callable, run: Callable, facts_of: FactsOf, tmp_path: Path
) -> None:
    state_dir, summary_path = tmp_path / "state", tmp_path / "summary.json"
    swarm = start(
        *("swarm", "--peers", "4", "--iterations", "100000", "--plain"),
        *("--state-dir", str(state_dir), "--summary", str(summary_path)),
    )
    swarm.until(lambda: any(2 in finished(facts_of(folder)) for folder in folders(state_dir)))

    began = next(fact for fact in facts_of(folders(state_dir)[0]) if isinstance(fact, PeerStarted))
    status = run("status", f"127.0.0.1:{began.port}", "--json")
    assert status.returncode == 0, status.stderr
    told = json.loads(status.stdout)
    assert (told["peer_id"], told["started"], told["grid"]) == (began.peer_id, True, [4])
    assert [row["status"] for row in told["peers"]] == ["joined"] * 4
    assert all(row["connected"] for row in told["peers"])

    seen = run("top", "--peer", f"127.0.0.1:{began.port}", "--json")
    assert seen.returncode == 0, seen.stderr
    rows = json.loads(seen.stdout)
    assert [row["trouble"] for row in rows] == [None] * 4
    assert {row["status"]["peer_id"] for row in rows} == {row["peer_id"] for row in told["peers"]}
    checked = run("doctor", "--bootstrap", f"127.0.0.1:{began.port}", "--port", "0", "--json")
    found = {one["code"]: one["severity"] for one in json.loads(checked.stdout)["findings"]}
    assert (found["bootstrap_tcp"], found["bootstrap_udp"], found["clock"]) == ("ok", "ok", "ok")

    swarm.process.send_signal(signal.SIGINT)
    assert swarm.end() == 130, swarm.log.read_text()
    summary = json.loads(summary_path.read_text())
    assert summary["peers_started"] == 4
    assert summary["peers_lost"] == 0
    assert len(summary["iterations"]) >= 2
    assert [ending(facts_of(folder)).reason for folder in folders(state_dir)] == ["left"] * 4
