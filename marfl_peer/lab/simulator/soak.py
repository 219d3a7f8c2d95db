"""Thousands of simulated runs with faults drawn from their seeds, on all cores, written down one by one.

A soak that was interrupted goes on where it stopped; what other code came to is not counted.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import torch

from marfl_peer.lab.simulator.coverage import counting
from marfl_peer.lab.simulator.faults.drawing import draw
from marfl_peer.lab.simulator.run import run

PACKAGE = Path(__file__).parents[2]
OBJECTS_A_COLLECTION = 20_000
"""Whole swarms live in one process: the collector's own 700 would have it look at them all the time."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One seed's run. `violations` are (invariant, message); the story is told again by running the seed again."""

    code: str
    seed: int
    peers: int
    cpu_s: float
    virtual_s: float
    digest: str
    violations: tuple[tuple[str, str], ...] = ()
    coverage: dict[str, int] = {}


class Totals:
    """What all results of a soak add up to."""

    def __init__(self) -> None:
        self.seeds = 0
        self.peers = 0
        self.cpu_s = 0.0
        self.virtual_s = 0.0
        self.broken: list[Result] = []
        self.coverage: Counter[str] = Counter()

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.peers += result.peers
        self.cpu_s += result.cpu_s
        self.virtual_s += result.virtual_s
        self.coverage.update(result.coverage)
        if result.violations:
            self.broken.append(result)


def code_digest(package: Path = PACKAGE) -> str:
    """Names the code: results of one code say nothing about another."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def run_seed(seed: int, code: str) -> Result:
    """The run of one seed with the faults that are drawn from it."""
    counts: Counter[str] = Counter()
    with counting(counts):
        report = run(draw(seed))
    counts.update(report.coverage)
    return Result(
        code=code,
        seed=seed,
        peers=report.peers,
        cpu_s=report.cpu_s,
        virtual_s=report.virtual_s,
        digest=report.digest,
        violations=tuple((violation.invariant, violation.message) for violation in report.violations),
        coverage=dict(counts),
    )


def known(log: Path, code: str) -> dict[int, Result]:
    """The results of this code in a log, by seed; a line that was cut off is run again."""
    results: dict[int, Result] = {}
    if log.is_file():
        for line in log.read_bytes().splitlines():
            try:
                result = msgspec.json.decode(line, type=Result)
            except msgspec.DecodeError:
                continue
            if result.code == code:
                results[result.seed] = result
    return results


def soak(seeds: Sequence[int], *, log: Path, workers: int, on_result: Callable[[Result, Totals], None]) -> Totals:
    """Runs the seeds that `log` does not have yet, and writes each there as it ends. Ctrl+C keeps what is done."""
    code = code_digest()
    totals, done = Totals(), known(log, code)
    for seed in seeds:
        if seed in done:
            totals.add(done[seed])
    open_seeds = [seed for seed in seeds if seed not in done]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        for result in _results(open_seeds, code, workers):
            file.write(msgspec.json.encode(result) + b"\n")
            file.flush()
            totals.add(result)
            on_result(result, totals)
    return totals


def _results(seeds: Sequence[int], code: str, workers: int) -> Iterator[Result]:
    if workers == 1:
        _prepare()
        yield from (run_seed(seed, code) for seed in seeds)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, prepare_worker, maxtasksperchild=500) as pool:
        yield from pool.imap_unordered(partial(run_seed, code=code), seeds, chunksize=4)


def _prepare() -> None:
    """One thread a run; what is imported is never looked at again by the collector of cycles."""
    torch.set_num_threads(1)
    importlib.import_module("torch._dynamo")  # which the first optimizer would: as much as all the rest
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_A_COLLECTION)


def prepare_worker() -> None:
    """What a process does once before its runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    _prepare()
