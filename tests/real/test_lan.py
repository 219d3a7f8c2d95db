"""Two peers that are told of nobody find each other by multicast, in a network of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from marfl_peer.facts import IterationFinished, PeerStopped, ViewChanged

PEERS_ON_A_LAN = """
ip link set lo up
ip link set lo multicast on
ip route add 224.0.0.0/4 dev lo
"$@" --port 7701 --state-dir one & one=$!
"$@" --port 7702 --state-dir two & two=$!
wait $one
wait $two
"""


def test_peers_find_each_other_by_the_beacon(commands: Callable, facts_of: Callable, tmp_path: Path) -> None:
    command, environment, patience_s = commands(
        *("join", "--lan", "--host", "127.0.0.1", "--wait-for", "2", "--wait-timeout-s", str(100)),
        *("--iterations", "5", "--shards", "2"),
    )
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    done = subprocess.run(
        [*unshare, "sh", "-ec", PEERS_ON_A_LAN, "sh", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience_s,
    )
    assert done.returncode == 0, done.stderr
    endings = []
    for name in ("one", "two"):
        facts = facts_of(tmp_path / name)
        assert [fact.peers for fact in facts if isinstance(fact, ViewChanged)] == [2]
        assert [fact.reason for fact in facts if isinstance(fact, PeerStopped)] == ["finished"]
        endings.append([fact.projection for fact in facts if isinstance(fact, IterationFinished)])
    assert len(endings[0]) == 5
    assert endings[0] == endings[1]
