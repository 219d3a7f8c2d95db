"""Averages a vector among peers of which one has a slow link, with chunks by measured speed and with equal ones.

python scripts/link_trial.py --rate 200 --slow 20
needs root: each peer lives in a network namespace of its own, and what goes to it and comes from it passes a token
bucket (tc tbf) of its rate. Three swarms run one after the other: all links fast, and one slow, with `--spans equal`
and with `--spans measured`. Prints seconds and bytes of each (medians, without the first iteration, in which nothing is
measured yet), and exits with 0 only if all peers had the same model after every iteration, and measured chunks were the
faster ones.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from partition_trial import PATIENCE_S, POLL_S, Journal, run

from marfl_peer.facts import GroupFinished, IterationFinished, UplinkMeasured
from marfl_peer.lab.bench.sides import ENDLESS, FLOAT_BYTES
from marfl_peer.lab.bench.task import BenchTask
from marfl_peer.learning.tasks.base import TaskData

NETWORK = "10.78.0"
PORT = 7700
FLOATS_NAME, PEERS_NAME = "LINK_TRIAL_FLOATS", "LINK_TRIAL_PEERS"
START_S = 60.0
BURST_KIB, QUEUE_MS = 128, 50
"""Of a token bucket: what passes at once, and how long what waits in it may."""


class FlatTask(BenchTask):
    """A flat vector that each peer moves by another amount."""

    def load(self, data_dir: Path | None) -> TaskData:
        plain = super().load(data_dir)
        inputs = torch.arange(1.0, len(plain.train_inputs) + 1).unsqueeze(1)
        return TaskData(
            train_inputs=inputs, train_labels=plain.train_labels, test_inputs=inputs, test_labels=plain.test_labels
        )


def task() -> FlatTask:
    """What `--task link_trial:task` makes in every peer."""
    return FlatTask(int(os.environ[FLOATS_NAME]) // 2, int(os.environ[PEERS_NAME]))


class Star:
    """A network namespace for each peer, all on one bridge; `rates` in Mbit/s, both ways. A context manager."""

    def __init__(self, name: str, rates: Sequence[float]) -> None:
        self._hub, self._rates = f"{name}-hub", rates
        self._names = [f"{name}-{index}" for index in range(len(rates))]

    def __enter__(self) -> Star:
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in (*self._names, self._hub):
            subprocess.run(("ip", "netns", "delete", name), check=False, stderr=subprocess.DEVNULL)

    def inside(self, index: int, *command: str) -> tuple[str, ...]:
        """The command in the namespace of a peer."""
        return ("ip", "netns", "exec", self._names[index], *command)

    def _build(self) -> None:
        hub = ("ip", "-n", self._hub)
        run("ip", "netns", "add", self._hub)
        run(*hub, "link", "add", "bridge", "type", "bridge")
        run(*hub, "link", "set", "bridge", "up")
        for index, (name, rate) in enumerate(zip(self._names, self._rates, strict=True)):
            inside, port = ("ip", "-n", name), f"port{index}"
            run("ip", "netns", "add", name)
            run(*hub, "link", "add", port, "type", "veth", "peer", "name", "own", "netns", name)
            run(*hub, "link", "set", port, "master", "bridge", "up")
            run(*inside, "address", "add", f"{address_of(index)}/24", "dev", "own")
            for device in ("lo", "own"):
                run(*inside, "link", "set", device, "up")
            run(*self.inside(index, *shaping("own", rate)))
            run("ip", "netns", "exec", self._hub, *shaping(port, rate))


def address_of(index: int) -> str:
    return f"{NETWORK}.{index + 1}"


def shaping(device: str, rate: float) -> tuple[str, ...]:
    """The command that lets nothing leave a device at more than `rate` Mbit/s."""
    limits = ("rate", f"{rate:g}mbit", "burst", f"{BURST_KIB}kb", "latency", f"{QUEUE_MS}ms")
    return ("tc", "qdisc", "add", "dev", device, "root", "tbf", *limits)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one swarm. `seconds`: until the last peer had the mean; `slow_bytes`: what the last peer sent for it;
    `rates`: what peers measured of their uplinks at the end, in bytes a second, 0 where nothing."""

    seconds: float
    slow_bytes: float
    rates: tuple[float, ...]
    complaints: tuple[str, ...]


def figures_of(journals: Sequence[Journal], iterations: int) -> Figures:
    """What peers wrote down of iterations 2 to `iterations`."""
    seconds, sent, complaints = [], [], []
    for iteration in range(2, iterations + 1):
        ended = [journal.latest(iteration) for journal in journals]
        if len({None if fact is None else fact.projection for fact in ended}) != 1:
            complaints.append(f"models differ after iteration {iteration}")
        if {None if fact is None else fact.peers for fact in ended} != {len(journals)}:
            complaints.append(f"not all peers were in iteration {iteration}")
        seconds.append(max((group_seconds(journal, iteration) for journal in journals), default=0.0))
        sent += [fact.bytes_sent["tensor"] for fact in ended[-1:] if fact is not None]
    rates = tuple(
        next((one.fact.bytes_per_s for one in reversed(journal.told) if isinstance(one.fact, UplinkMeasured)), 0.0)
        for journal in journals
    )
    return Figures(median(seconds), median(sent or [0]), rates, tuple(complaints))


def group_seconds(journal: Journal, iteration: int) -> float:
    """How long a peer was in its groups of an iteration."""
    facts = (one.fact for one in journal.told)
    return sum(fact.seconds for fact in facts if isinstance(fact, GroupFinished) and fact.iteration == iteration)


class Swarm:
    """Ordinary `marfl-peer join`, one in each namespace of a star."""

    def __init__(self, folder: Path, star: Star, *, peers: int, vector_bytes: int, spans: str) -> None:
        self._folder, self._star, self._peers = folder, star, peers
        self._vector_bytes, self._spans = vector_bytes, spans
        self._processes: list[subprocess.Popen[bytes]] = []
        self.journals = [Journal(folder / str(index) / "journal.jsonl") for index in range(peers)]

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MARFL_")}
        environment |= {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]]),
            FLOATS_NAME: str(self._vector_bytes // FLOAT_BYTES),
            PEERS_NAME: str(self._peers),
        }
        for index in range(self._peers):
            settings = {
                "task": "link_trial:task",
                "spans": self._spans,
                "host": address_of(index),
                "port": PORT,
                "bootstrap": f"{address_of(0)}:{PORT}",
                "wait-for": self._peers,
                "group-size": self._peers,
                "shards": self._peers,
                "local-steps": 1,
                "iterations": ENDLESS,
                "evaluate-every": ENDLESS,
                "save-every": ENDLESS,
                "state-dir": self._folder / str(index),
            }
            flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
            command = self._star.inside(index, sys.executable, "-m", "marfl_peer", "join", *flags)
            with (self._folder / f"{index}.log").open("wb") as log:
                self._processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    def wait(self, iterations: int, limit_s: float) -> None:
        """Until all peers are through with so many. Raises: TimeoutError."""
        deadline = time.monotonic() + limit_s
        while not all(_last_number(journal) >= iterations for journal in self.journals):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{iterations} iterations took more than {limit_s:.0f} s: logs in {self._folder}")
            for index, process in enumerate(self._processes):
                if process.poll() is not None:
                    raise TimeoutError(f"peer {index} ended with {process.returncode}: logs in {self._folder}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _last_number(journal: Journal) -> int:
    numbers = [one.fact.iteration for one in journal.finished() if isinstance(one.fact, IterationFinished)]
    return numbers[-1] if numbers else 0


def measure(rates: Sequence[float], *, vector_bytes: int, iterations: int, spans: str) -> Figures:
    """Runs one swarm. Raises: TimeoutError."""
    folder = Path(tempfile.mkdtemp(prefix="links-"))
    slowest_s = 2 * vector_bytes * 8 / (min(rates) * 1e6)
    with Star(f"links{os.getpid()}", rates) as star:
        swarm = Swarm(folder, star, peers=len(rates), vector_bytes=vector_bytes, spans=spans)
        try:
            swarm.start()
            swarm.wait(iterations, START_S + 4 * iterations * slowest_s)
        finally:
            swarm.stop()
    figures = figures_of(swarm.journals, iterations)
    if not figures.complaints:
        shutil.rmtree(folder)
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--bytes", type=int, default=9_600_000, help="of the vector")
    parser.add_argument("--rate", type=float, default=200.0, help="of the links, in Mbit/s")
    parser.add_argument("--slow", type=float, default=20.0, help="of the slow link")
    parser.add_argument("--iterations", type=int, default=6)
    options = parser.parse_args(arguments)
    fast = [options.rate] * options.peers
    unequal = [*fast[:-1], options.slow]
    trials = (("all fast", fast, "equal"), ("equal chunks", unequal, "equal"), ("measured", unequal, "measured"))
    print("links         seconds  MB sent by the last  measured uplinks, Mbit/s")
    told: list[Figures] = []
    for name, rates, spans in trials:
        figures = measure(rates, vector_bytes=options.bytes, iterations=options.iterations, spans=spans)
        uplinks = " ".join(f"{rate * 8 / 1e6:.0f}" for rate in figures.rates)
        print(f"{name:12}  {figures.seconds:7.2f}  {figures.slow_bytes / 1e6:19.1f}  {uplinks}", flush=True)
        for complaint in figures.complaints:
            print(f"              {complaint}", flush=True)
        told.append(figures)
    _, equal, measured = told
    is_well = not any(figures.complaints for figures in told)
    return 0 if is_well and measured.seconds < equal.seconds else 1


if __name__ == "__main__":
    sys.exit(main())
