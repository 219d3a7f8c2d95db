"""`marfl-peer swarm --placement hashed`: real peers that find their groups by key in every iteration, and learn."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from marfl_peer.facts import AnyFact, GroupFinished, IterationFinished, IterationSkipped, PeerStarted, WaitEnded
from marfl_peer.ids import Iteration, PeerId, Round, RunId
from marfl_peer.protocol.hashed import Hashing

PEERS, ITERATIONS = 12, 12
HASHING = Hashing(run_id=RunId("default"), buckets=3, rounds=2)


def test_swarm_without_a_grid_learns_and_stays_together(
    start: Callable, facts_of: Callable[[Path], list[AnyFact]], tmp_path: Path
) -> None:
    state_dir, summary_path = tmp_path / "state", tmp_path / "summary.json"
    swarm = start(
        *("swarm", "--placement", "hashed", "--peers", str(PEERS), "--iterations", str(ITERATIONS), "--plain"),
        *("--state-dir", str(state_dir), "--summary", str(summary_path)),
    )
    assert swarm.end() == 0, swarm.log.read_text()
    assert "swarm without a grid" in swarm.log.read_text()
    summary = json.loads(summary_path.read_text())
    journals = [facts_of(folder) for folder in sorted(state_dir.glob("*/peer-*"))]

    assert (summary["grid"], summary["peers_finished"], summary["peers_lost"]) == ([], PEERS, 0)
    rows = summary["iterations"]
    assert rows[-1]["test_accuracy_mean"] >= 0.93
    # not compared with the first iteration's: ids are new in every run, and by chance that one may mix well
    assert rows[-1]["disagreement"] <= 0.02
    assert all(row["disagreement"] > 0 for row in rows), "the mean is approached, not reached"

    # nobody was left behind, and no wait was in vain
    facts = [fact for journal in journals for fact in journal]
    assert not [fact for fact in facts if isinstance(fact, IterationSkipped)]
    assert all(fact.outcome == "arrived" for fact in facts if isinstance(fact, WaitEnded))

    # groups are those of the hash; who is in one says the same of it
    peers = [PeerId(fact.peer_id) for fact in facts if isinstance(fact, PeerStarted)]
    told = defaultdict(list)
    for fact in facts:
        if isinstance(fact, GroupFinished):
            told[fact.iteration, fact.round, fact.members].append(fact)
    whole = 0
    for (iteration, round, members), reports in told.items():
        place = (Iteration(iteration), Round(round))
        bucket = [peer for peer in sorted(peers) if HASHING.bucket(peer, *place) == reports[0].line]
        assert set(members) <= set(bucket)
        assert len(reports) == len(members)
        whole += list(members) == bucket
    assert whole >= 0.8 * len(told), "keys that were announced an iteration ahead are found"

    # a look-up a round, once the first iteration is over
    for journal in journals:
        lookups = [fact.dht_lookups for fact in journal if isinstance(fact, IterationFinished)]
        assert all(made <= 2 * HASHING.rounds for made in lookups[1:])
