"""What a swarm sends: counted by the peers, by the kernel of a network of their own, and by the formula."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marfl_peer.facts import AnyFact, IterationFinished

FLOAT_BYTES = 4
HEADERS_BYTES = 14 + 20 + 32
"""Ethernet, IPv4 and TCP with time stamps: what the kernel counts besides what was written to the sockets."""
MNIST_PARAMETERS = 1_199_882
PLAIN_MODEL = """
import torch
from torch import nn
from marfl_peer.learning.tasks.base import TaskData

class Bulk:
    "A model of nothing but weights, and data that cost no time."
    name = "bulk"

    def build_model(self):
        return nn.Linear({features}, 1, bias=False)

    def load(self, data_dir):
        inputs, labels = torch.arange(64).float().unsqueeze(1), torch.zeros(64, dtype=torch.int64)
        return TaskData(train_inputs=inputs, train_labels=labels, test_inputs=inputs[:16], test_labels=labels[:16])

    def prepare(self, inputs):
        return inputs.expand(-1, {features}) / 64

    def loss(self, outputs, labels):
        return outputs.square().mean()

    def correct(self, outputs, labels):
        return (outputs.squeeze(1) < 0).sum()

def factory():
    return Bulk()
"""
IN_A_NETWORK_OF_ITS_OWN = """
ip link set lo up
# On a busy machine the kernel takes slow readers for losses, probes, and sends some segments twice.
echo 0 > /proc/sys/net/ipv4/tcp_early_retrans
"$@"
cat /proc/self/net/dev > sent
"""


def formula(exchange: str, *, peers: int, group: int, vector_bytes: int) -> float:
    """Tensor bytes that a peer sends in an iteration: the exchange's, on a full grid."""
    rounds, size = 0, 1
    while size < peers:
        rounds, size = rounds + 1, size * group
    each = 2 * (group - 1) / group if exchange == "butterfly" else group - 1
    return rounds * each * vector_bytes


def run_alone(
    folder: Path, command: tuple[str, ...], *, environment: dict[str, str], features: int, patience_s: float
) -> tuple[dict[str, Any], int]:
    """The summary of a swarm in a network namespace, and the bytes that crossed its loopback, less packets' headers."""
    (folder / "bulk_task.py").write_text(PLAIN_MODEL.format(features=features))
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    done = subprocess.run(
        [*unshare, "sh", "-ec", IN_A_NETWORK_OF_ITS_OWN, "sh", *command, "--summary", "summary.json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience_s,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    row = next(line for line in (folder / "sent").read_text().splitlines() if line.strip().startswith("lo:"))
    sent_bytes, packets = (int(figure) for figure in row.split()[9:11])
    return json.loads((folder / "summary.json").read_text()), sent_bytes - packets * HEADERS_BYTES


@pytest.mark.parametrize(
    ("exchange", "peers", "iterations"), [("butterfly", 4, 6), ("all-gather", 4, 6), ("butterfly", 16, 3)]
)
def test_tensor_bytes_are_the_formulas_and_what_the_kernel_counted(
    exchange: str, peers: int, iterations: int, commands: Callable, facts_of: Callable, tmp_path: Path
) -> None:
    command, environment, patience_s = commands(
        *("swarm", "--peers", str(peers), "--group-size", "4", "--exchange", exchange, "--task", "bulk_task:factory"),
        *("--iterations", str(iterations), "--local-steps", "1", "--batch-size", "4", "--shards", "16"),
        *("--save-every", "1000", "--plain", "--state-dir", "state"),
        *("--same-machine", "tcp"),  # what goes through Unix sockets no interface counts
    )
    summary, kernel_bytes = run_alone(
        tmp_path, command, environment=environment, features=MNIST_PARAMETERS, patience_s=patience_s
    )
    vector_bytes = 2 * MNIST_PARAMETERS * FLOAT_BYTES  # theta and momentum
    expected = formula(exchange, peers=peers, group=4, vector_bytes=vector_bytes)

    sent = summary["bytes_sent_per_peer_per_iteration"]
    assert sent["tensor"] == pytest.approx(expected, rel=0.01)
    by_kind = {kind: sum(row["bytes_sent"][kind] for row in summary["iterations"]) for kind in sent}
    assert kernel_bytes == pytest.approx(sum(by_kind.values()), rel=0.01), by_kind
    kernel_tensor_bytes = kernel_bytes - sum(count for kind, count in by_kind.items() if kind != "tensor")
    assert kernel_tensor_bytes == pytest.approx(expected * peers * iterations, rel=0.02), by_kind
    if peers == 16:
        assert sent["control"] + sent["dht"] <= 0.02 * sent["tensor"]

    # every peer by itself, not only on average
    for folder in sorted((tmp_path / "state").glob("*/peer-*")):
        facts: list[AnyFact] = facts_of(folder)
        each = [fact.bytes_sent["tensor"] for fact in facts if isinstance(fact, IterationFinished)]
        assert sum(each) / iterations == pytest.approx(expected, rel=0.05)
