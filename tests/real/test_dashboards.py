"""Dashboards and alerts against a Prometheus that scrapes a real swarm of 16: every query must give something.

What a swarm at peace has none of is done to it: a stranger knocks, one datagram is garbage, somebody that was let in
breaks the rules, and a peer stands still for two seconds. A second, small swarm learns under differential privacy. The
first must not: it would tell no training loss. Skipped where there is no Prometheus.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from time import time
from typing import Any

import msgspec
import pytest
from dashboards import ALERTS, DASHBOARDS, IN_CASE_OF_NONE, alert_names, filled_in, queries, variables

from marfl_peer.averaging.disagreement import disagreement
from marfl_peer.facts import IterationFinished, PeerStarted
from marfl_peer.lab.ports import free_ports
from marfl_peer.network.connection import Connection
from marfl_peer.network.handshake import Doorman, Inbox, Introduction
from marfl_peer.network.identity import Identity
from marfl_peer.network.traffic import Traffic
from marfl_peer.peer.inquiry import ask_run
from marfl_peer.protocol import records
from marfl_peer.protocol.messages import Hello
from marfl_peer.protocol.records import RunBody

LOOPBACK = "127.0.0.1"
PEERS, PRIVATE_PEERS = 16, 2
POLL_S = 0.1
RATE_INTERVAL = "2m"
PATIENCE_S = 1200.0
"""A busy machine runs sixteen peers slowly."""

WIDE_TASK = '''
from torch import nn
from marfl_peer.learning.tasks.digits import Digits

class Wide(Digits):
    """Large enough for links to be measured: an exchange moves more than a megabyte."""
    name = "wide"

    def build_model(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 2000), nn.ReLU(), nn.Linear(2000, 10))

factory = Wide
'''

PAUSE = """
[[event]]
action = "pause"
iteration = 2
peers = [0]
for_s = 2.0
"""
"""So that one event loop is late for a timer."""

for program in ("prometheus", "promtool"):
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on PATH", allow_module_level=True)


def consecutive_ports(count: int) -> int:
    """The first of so many neighbours that nobody listens on."""
    rng = random.Random()
    while True:
        (first,) = free_ports(1, host=LOOPBACK, rng=rng)
        with contextlib.ExitStack() as taken, contextlib.suppress(OSError):
            for port in range(first, first + count):
                taken.enter_context(socket.create_server((LOOPBACK, port)))
            return first


class Prometheus:
    """One that scrapes every second; `ask` is its HTTP API."""

    def __init__(self, folder: Path, ports: dict[str, range]) -> None:
        (self.port,) = free_ports(1, host=LOOPBACK, rng=random.Random())
        jobs = [
            {
                "job_name": job,
                "static_configs": [{"targets": [f"{LOOPBACK}:{port}" for port in numbers]}],
            }
            for job, numbers in ports.items()
        ]
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": jobs,
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        self.ports = ports
        self.log = folder / "prometheus.log"
        self.began = time()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                (
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'tsdb'}",
                    f"--web.listen-address={LOOPBACK}:{self.port}",
                ),
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str, **parameters: str | float) -> Any:
        url = f"http://{LOOPBACK}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=120) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE:  # it starts
                raise
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from None

    def has(self, expr: str) -> bool:
        """Whether there is anything now; False while it starts, too."""
        try:
            return bool(self.ask("query", query=expr)["result"])
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return False

    def values(self, expr: str) -> int:
        """How many finite values it has had since the start."""
        found = self.ask("query_range", query=expr, start=self.began, end=time(), step="1s")["result"]
        return sum(math.isfinite(float(value)) for series in found for _, value in series["values"])


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    first = consecutive_ports(PEERS + PRIVATE_PEERS)
    ports = {
        "marfl-peer": range(first, first + PEERS),
        "marfl-private": range(first + PEERS, first + PEERS + PRIVATE_PEERS),
    }
    running = Prometheus(tmp_path, ports)
    try:
        while not running.has("vector(1)"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(POLL_S)
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def offend(port: int, run_id: str) -> None:
    """Introduces itself as a peer of the run at this port, is let in, and says what does not belong there."""

    async def go() -> None:
        body = records.decode_body(records.decode(await ask_run(LOOPBACK, port, timeout_s=120)).body)
        assert isinstance(body, RunBody)
        shared = msgspec.json.encode(body.settings, order="sorted")
        introduction = Introduction(
            role="peer",
            run_id=run_id,
            settings_digest=hashlib.sha256(shared).hexdigest()[:40],
            schema_digest=body.schema_digest,
            host=LOOPBACK,
            port=1,
        )
        loop = asyncio.get_running_loop()
        connection = Connection(
            traffic=Traffic(),
            on_frame=lambda *_: None,
            place=lambda _, length: memoryview(bytearray(length)),
            on_closed=lambda *_: None,
        )
        inbox = Inbox(connection)
        await loop.create_connection(lambda: connection, LOOPBACK, port)
        identity = Identity.ephemeral()
        doorman = Doorman(identity, introduction)
        patience = asyncio.timeout_at(loop.time() + 120)
        await doorman.greet(connection, inbox, dialled=True, nonce=os.urandom(16), patience=patience)
        hello = Hello(
            version=1, role="peer", run_id="", public_key=b"k" * 32, incarnation=1, nonce=b"n" * 16, settings_digest="",
            schema_digest="", host=LOOPBACK, port=1,
        )  # fmt: skip
        connection.send(hello)
        await asyncio.wait_for(connection.closed, 120)

    asyncio.run(go())


def knock(port: int) -> None:
    """What a scanner does, over TCP and UDP."""
    with socket.create_connection((LOOPBACK, port), timeout=30) as door, contextlib.suppress(OSError):
        door.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        door.shutdown(socket.SHUT_WR)
        while door.recv(65536):
            pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"\xc1" * 60, (LOOPBACK, port))


def without_threshold(expr: str) -> str:
    """What an alert looks at, whatever its value."""
    return re.sub(r" ?(?:>|==) ?[\d.]+$", "", expr.replace(" == 0 and ", " and ").rsplit(" > 0", 1)[0])


@pytest.mark.timeout(3 * PATIENCE_S)
def test_every_query_gives_something_of_a_real_swarm(
    start: Callable[..., Any], facts_of: Callable[[Path], list[Any]], prometheus: Prometheus, tmp_path: Path
) -> None:
    swarm_port, private_port = (ports[0] for ports in prometheus.ports.values())
    (tmp_path / "wide_task.py").write_text(WIDE_TASK)
    (tmp_path / "pause.toml").write_text(PAUSE)
    swarm = start(
        *("swarm", "--peers", str(PEERS), "--task", "wide_task:factory", "--local-steps", "2", "--churn", "pause.toml"),
        *("--iterations", "100000", "--mkd-iterations", "2", "--metrics-port", str(swarm_port)),
        *("--same-machine", "tcp"),  # of Unix sockets no rate is measured
        *("--plain", "--state-dir", "swarm"),
        name="swarm",
    )

    def folder(run: str) -> Path:
        return next(iter((tmp_path / run).glob("*/peer-000")), tmp_path / "nowhere")

    def finished(run: str) -> int:
        return sum(isinstance(fact, IterationFinished) for fact in facts_of(folder(run)))

    swarm.until(lambda: finished("swarm") >= 3, patience_s=PATIENCE_S)
    (began,) = (fact for fact in facts_of(folder("swarm")) if isinstance(fact, PeerStarted))
    knock(began.port)
    offend(began.port, began.run_id)
    before = finished("swarm")
    for condition in (
        'ALERTS{alertname="MarflPeerRejected", job="marfl-peer"}',
        f'sum(max_over_time(up{{job="marfl-peer"}}[1h])) == {PEERS}',
        f"sum(max_over_time(marfl_in_view_bool[1h])) == {PEERS}",
        f"count(max_over_time(marfl_uplink_bytes_per_second[1h]) > 0) == {PEERS}",
        "max(count_over_time((marfl_test_accuracy_ratio > 0)[1h:1s])) >= 15",
        "count_over_time(marfl_remote_faults_total[1h]) >= 3",
        "count_over_time(marfl_connections_refused_total[1h]) >= 3",
    ):
        swarm.until(lambda condition=condition: prometheus.has(condition), patience_s=PATIENCE_S)
    swarm.until(lambda: finished("swarm") >= before + 3, patience_s=PATIENCE_S)
    swarm.process.send_signal(signal.SIGINT)
    assert swarm.end(patience_s=PATIENCE_S) == 130, swarm.log.read_text()

    private = start(
        *("swarm", "--peers", str(PRIVATE_PEERS), "--iterations", "100000", "--dp-noise", "1"),
        *("--metrics-port", str(private_port), "--plain", "--state-dir", "private"),
        name="private",
    )
    spent = "count(count_over_time(marfl_privacy_epsilon[1h]) >= 3) == 4"  # against a group-mate and an outsider
    private.until(lambda: prometheus.has(spent), patience_s=PATIENCE_S)
    private.process.send_signal(signal.SIGINT)
    assert private.end(patience_s=PATIENCE_S) == 130, private.log.read_text()

    counts = values_by_query(prometheus)
    empty = [where for where, count in counts.items() if count == 0]
    assert not empty, empty
    assert len(counts) > 100
    assert sorted(alerts_asked(prometheus)) == sorted(alert_names())


def values_by_query(prometheus: Prometheus) -> dict[str, int]:
    """How many values every query of the dashboards gave, of both swarms and the first peer of each."""
    counts: dict[str, int] = {}
    for path in DASHBOARDS:
        for query in queries(path):
            expr = query.expr.removesuffix(IN_CASE_OF_NONE)
            for job, ports in prometheus.ports.items():
                names = {"job": job, "peer": f"{LOOPBACK}:{ports[0]}", "__rate_interval": RATE_INTERVAL}
                counts[query.where] = counts.get(query.where, 0) + prometheus.values(filled_in(expr, names))
        for name, asked in variables(path).items():
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", filled_in(asked, {"job": "marfl-peer"}))
            assert found is not None, asked
            span = {"start": prometheus.began, "end": time()}
            values = prometheus.ask(f"label/{found[2]}/values", **{"match[]": found[1]}, **span)
            counts[f"{path.stem}: ${name}"] = len(values)
    return counts


def alerts_asked(prometheus: Prometheus) -> Iterator[str]:
    """Names of the alerts that Prometheus evaluates without a fault, and whose series there are."""
    for group in prometheus.ask("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
            looks_at = without_threshold(rule["query"])
            assert looks_at != rule["query"]
            assert prometheus.values(looks_at) > 0, looks_at
            yield rule["name"]


def test_alerts_pass_their_own_tests() -> None:
    for command in (("check", "rules", str(ALERTS)), ("test", "rules", str(ALERTS.with_name("alerts_test.yml")))):
        done = subprocess.run(("promtool", *command), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    config = ALERTS.with_name("prometheus.yml")
    done = subprocess.run(("promtool", "check", "config", str(config)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_disagreement_is_that_of_the_peers_in_the_median_iteration(tmp_path: Path) -> None:
    sketches = {"a": (7, (0.0, 0.0)), "b": (7, (6.0, 8.0)), "ahead": (8, (1e9, -1e9))}
    assert disagreement([sums for iteration, sums in sketches.values() if iteration == 7]) == 1.0
    series = [
        (f'marfl_model_sketch{{job="swarm", instance="{peer}", part="{part}"}}', value)
        for peer, (_, sums) in sketches.items()
        for part, value in enumerate(sums)
    ]
    series += [
        (f'marfl_iteration_number{{job="swarm", instance="{peer}"}}', iteration)
        for peer, (iteration, _) in sketches.items()
    ]
    (asked,) = {
        filled_in(query.expr, {"job": "swarm"})
        for path in DASHBOARDS
        for query in queries(path)
        if "marfl_model_sketch" in query.expr
    }
    trial = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{value:g}x5"} for name, value in series],
        "promql_expr_test": [{"expr": asked, "eval_time": "3m", "exp_samples": [{"labels": "{}", "value": 1}]}],
    }
    (tmp_path / "trial.yml").write_text(json.dumps({"rule_files": [], "tests": [trial]}))
    command = ("promtool", "test", "rules", str(tmp_path / "trial.yml"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
