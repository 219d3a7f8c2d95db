"""Cuts a swarm in two halves, heals it, and judges whether it became one again.

python scripts/partition_trial.py --trials 3 --cut 30
needs root: each half lives in a network namespace of its own, and the link of one is taken down and up again.
Prints a row a trial, and exits with 0 only if, in every trial, each half went on alone, all were in one view within
30 s of the healing, the first common iteration had the weight of all, and all models were the same in every bit two
iterations later.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from marfl_peer.facts import AnyFact, IterationFinished, MergeAgreed, StateFetched, decode_fact
from marfl_peer.lab.links import Land

HALVES = 2
PORT = 7700
MERGED_WITHIN_S = 30.0
SAME_AFTER = 2
"""Iterations from the first common one to that in which the models are compared."""
START_S, SETTLE_S, PATIENCE_S = 120.0, 5.0, 60.0
POLL_S = 0.2
ITERATIONS = 1_000_000


@dataclass(slots=True)
class Told:
    """A fact with the wall time that the journal gave it, in seconds."""

    at: float
    fact: AnyFact


@dataclass(slots=True)
class Journal:
    """What one peer wrote down so far."""

    path: Path
    told: list[Told] = field(default_factory=list)
    _read_bytes: int = 0

    def read(self) -> list[Told]:
        """Everything up to now, without a line that is being written."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read_bytes)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read_bytes += len(whole)
            for line in whole.splitlines():
                stamp = msgspec.json.decode(line)
                self.told.append(Told(at_of(stamp), decode_fact(line)))
        return self.told

    def finished(self, *, after: float = 0.0) -> list[Told]:
        """The iterations that ended after a moment."""
        return [one for one in self.read() if isinstance(one.fact, IterationFinished) and one.at > after]

    def latest(self, iteration: int) -> IterationFinished | None:
        """How an iteration ended here."""
        ended = [one.fact for one in self.told if isinstance(one.fact, IterationFinished)]
        return next((fact for fact in reversed(ended) if fact.iteration == iteration), None)


def at_of(line: object) -> float:
    """The wall time of a journal's line."""
    assert isinstance(line, dict)
    return float(line["at"])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a trial: `seconds` from the healing until the last peer had finished an iteration with all."""

    seconds: float | None
    first_common: int | None
    numbers: tuple[int, ...]
    complaints: tuple[str, ...]


class Trial:
    """`peers` ordinary `marfl-peer join`, half of them in each namespace."""

    def __init__(self, folder: Path, land: Land, peers: int, local_steps: int) -> None:
        self._folder, self._land, self._peers, self._local_steps = folder, land, peers, local_steps
        self._processes: list[subprocess.Popen[bytes]] = []
        self.journals = [Journal(folder / str(index) / "journal.jsonl") for index in range(peers)]

    def start(self) -> None:
        """All found one swarm. Raises: TimeoutError."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MARFL_")}
        environment |= {"OMP_NUM_THREADS": "1"}
        for index in range(self._peers):
            half = index % HALVES
            settings = {
                "host": self._land.addresses[half],
                "port": PORT + index,
                "bootstrap": f"{self._land.addresses[0]}:{PORT}",
                "wait-for": self._peers,
                "iterations": ITERATIONS,
                "local-steps": self._local_steps,
                "shards": self._peers,
                "evaluate-every": 50,
                "save-every": 1000,
                "state-dir": self._folder / str(index),
            }
            flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
            command = self._land.inside(half, sys.executable, "-m", "marfl_peer", "join", *flags)
            with (self._folder / f"{index}.log").open("wb") as log:
                self._processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        self._wait(lambda: all(self._last_count(journal) == self._peers for journal in self.journals), START_S)

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def judge(self, cut_s: float) -> Verdict:
        """Cuts, heals, and waits until all is well or the patience is at its end."""
        time.sleep(SETTLE_S)
        self._land.cut(0)
        time.sleep(cut_s)
        half = self._peers // HALVES
        complaints = [
            f"peer {index} did not go on with its half: its last iteration had {count} peers"
            for index, journal in enumerate(self.journals)
            if (count := self._last_count(journal)) != half
        ]
        numbers = tuple(self._last_number(journal) for journal in self.journals)
        self._land.heal(0)
        healed = time.time()
        try:
            self._wait(lambda: self._are_same(healed), PATIENCE_S)
        except TimeoutError as error:
            complaints.append(str(error))
        return self._verdict(healed, numbers, complaints)

    def _verdict(self, healed: float, numbers: tuple[int, ...], complaints: list[str]) -> Verdict:
        start = self._first_common(healed)
        if start is None:
            return Verdict(None, None, numbers, (*complaints, "no iteration had all peers after the healing"))
        moments = [self._first_with_all(journal, healed) for journal in self.journals]
        seconds = None if None in moments else max(moment for moment in moments if moment is not None) - healed
        if seconds is None or seconds > MERGED_WITHIN_S:
            complaints.append(f"not one swarm within {MERGED_WITHIN_S:.0f} s")
        weights = {fact.weight for journal in self.journals if (fact := journal.latest(start)) is not None}
        everybody = {fact.weight for journal in self.journals if (fact := journal.latest(1)) is not None}
        if weights != everybody:
            complaints.append(f"weights {sorted(weights)} in the first common iteration, not {sorted(everybody)}")
        if len(self._models(start + SAME_AFTER)) != 1:
            complaints.append(f"models differ {SAME_AFTER} iterations after the first common one")
        told = [one.fact for journal in self.journals for one in journal.told if one.at > healed]
        if any(isinstance(fact, StateFetched) for fact in told):
            complaints.append("a peer downloaded a state: what it had learned was lost")
        if not any(isinstance(fact, MergeAgreed) for fact in told):
            complaints.append("nobody agreed on a merge")
        return Verdict(seconds, start, numbers, tuple(complaints))

    def _wait(self, condition: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"it did not come to be within {limit_s:.0f} s")
            for index, process in enumerate(self._processes):
                if process.poll() is not None:
                    raise TimeoutError(f"peer {index} ended with {process.returncode}")
            time.sleep(POLL_S)

    def _last_count(self, journal: Journal) -> int:
        finished = [one.fact for one in journal.finished() if isinstance(one.fact, IterationFinished)]
        return finished[-1].peers if finished else 0

    def _last_number(self, journal: Journal) -> int:
        finished = [one.fact for one in journal.finished() if isinstance(one.fact, IterationFinished)]
        return finished[-1].iteration if finished else 0

    def _first_with_all(self, journal: Journal, healed: float) -> float | None:
        for one in journal.finished(after=healed):
            if isinstance(one.fact, IterationFinished) and one.fact.peers == self._peers:
                return one.at
        return None

    def _first_common(self, healed: float) -> int | None:
        numbers = [
            one.fact.iteration
            for journal in self.journals
            for one in journal.finished(after=healed)
            if isinstance(one.fact, IterationFinished) and one.fact.peers == self._peers
        ]
        return min(numbers, default=None)

    def _models(self, iteration: int) -> set[tuple[float, ...] | None]:
        """What the models are like after an iteration; None for one that did not finish it."""
        ended = (journal.latest(iteration) for journal in self.journals)
        return {None if fact is None else fact.projection for fact in ended}

    def _are_same(self, healed: float) -> bool:
        start = self._first_common(healed)
        return start is not None and all(self._last_number(journal) >= start + SAME_AFTER for journal in self.journals)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--peers", type=int, default=8, help="an even number")
    parser.add_argument("--cut", type=float, default=30.0, help="seconds")
    parser.add_argument("--local-steps", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="folder for journals and logs")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # peers are ended then, too
    print("trial  verdict  merged after  first common  numbers at the healing")
    failed = 0
    for number in range(1, options.trials + 1):
        folder = Path(tempfile.mkdtemp(prefix="partition-", dir=options.keep))
        with Land(HALVES) as land:
            trial = Trial(folder, land, options.peers, options.local_steps)
            try:
                trial.start()
                verdict = trial.judge(options.cut)
            finally:
                trial.stop()
        failed += bool(verdict.complaints)
        after = "never" if verdict.seconds is None else f"{verdict.seconds:.1f} s"
        word = "failed" if verdict.complaints else "held"
        numbers = " ".join(map(str, verdict.numbers))
        print(f"{number:5}  {word:7}  {after:>12}  {verdict.first_common or '-':>12}  {numbers}", flush=True)
        if not verdict.complaints and options.keep is None:
            shutil.rmtree(folder)
        for complaint in verdict.complaints:
            print(f"       {complaint}; journals in {folder}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
