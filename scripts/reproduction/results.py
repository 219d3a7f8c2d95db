"""What is kept of a run, as one small JSON file: figures, command, versions, and why it failed, if it did.

Reads and writes; what the figures say is the experiments' business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean

import msgspec

from marfl_peer.disk import write_whole
from reproduction.runs import Run

DIGITS_KEPT = 8
"""Of every number that is no count."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An iteration, as in the summary of a swarm; what older versions do not tell is null."""

    iteration: int
    test_accuracy_mean: float | None = None
    train_loss_mean: float | None = None
    disagreement: float | None = None
    seconds: float | None = None
    bytes_sent: dict[str, int]
    groups_complete: int = 0
    groups_partial: int = 0
    peers_alive: int = 0
    peers_skipped: int = 0
    epsilon_mate: float | None = None
    epsilon_outsider: float | None = None

    @property
    def all_bytes(self) -> int:
        """Of all peers and kinds."""
        return sum(self.bytes_sent.values())


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Of a swarm, as it wrote it, without what nobody quotes."""

    peers: int
    grid: tuple[int, ...]
    iterations: tuple[Row, ...]
    bytes_sent_per_peer_per_iteration: dict[str, float]
    peers_started: int
    peers_finished: int
    peers_lost: int
    wall_seconds: float
    churn: dict[str, int] = {}

    def accuracies(self) -> list[tuple[int, float]]:
        """(iteration, accuracy) of those that were tested."""
        return [
            (row.iteration, row.test_accuracy_mean) for row in self.iterations if row.test_accuracy_mean is not None
        ]

    def bytes_until(self) -> list[int]:
        """Of each iteration and those before it, sent by all peers together."""
        return list(accumulate(row.all_bytes for row in self.iterations))

    def reached(self, accuracy: float) -> tuple[int, int] | None:
        """(iteration, bytes of all peers until its end) of the first that was at least so accurate."""
        for row, sent in zip(self.iterations, self.bytes_until(), strict=True):
            if row.test_accuracy_mean is not None and row.test_accuracy_mean >= accuracy:
                return row.iteration, sent
        return None


def mean_accuracies(summaries: Sequence[Summary]) -> list[tuple[int, float]]:
    """(iteration, accuracy), mean over runs, of the iterations that all of them tested."""
    of_each = [dict(summary.accuracies()) for summary in summaries]
    common = sorted(set.intersection(*(set(one) for one in of_each))) if of_each else []
    return [(t, fmean(one[t] for one in of_each)) for t in common]


def last_accuracy(summaries: Sequence[Summary]) -> float | None:
    """Mean over runs of what each came to at its end; None where none was tested."""
    last = [summary.accuracies()[-1][1] for summary in summaries if summary.accuracies()]
    return fmean(last) if last else None


class ScalingRun(msgspec.Struct, frozen=True, kw_only=True):
    """Of one number of peers; bytes are a peer's in an iteration."""

    peers: int
    group_size: int
    grid: tuple[int, ...]
    iterations: int
    bytes_sent: dict[str, float]
    bytes_sent_last_iteration: dict[str, float]
    seconds_per_iteration: float | None = None
    is_simulated: bool = False


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """Of `bench scaling`, without what nobody quotes."""

    vector_bytes: int
    runs: tuple[ScalingRun, ...]


class Versions(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What ran where. `source` is a digest of the package's files."""

    marfl_peer: str
    source: str
    torch: str
    python: str
    cpus: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`failure` is why there are no figures; empty where there are. `parameters`: how many the model has. `model`: its
    float32 values, in base64. `began` is UTC. `cpu_seconds` are those of all its processes."""

    name: str
    command: str
    seed: int | None
    began: str
    wall_seconds: float
    cpu_seconds: float | None = None
    versions: Versions
    exit_code: int = 0
    failure: str = ""
    summary: Summary | None = None
    scaling: Scaling | None = None
    parameters: int | None = None
    model: str | None = None


Results = Mapping[str, Result]
"""By name of the run: those that have figures."""


def write(result: Result, folder: Path) -> None:
    """In one step: readers see the old file or the whole new one."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(_path(result.name, folder), (_written(_rounded(msgspec.to_builtins(result)), "") + "\n").encode())


def read(run: Run, folder: Path) -> Result | None:
    """What is there of this run; None for nothing, something unreadable, or figures of another command."""
    try:
        result = msgspec.json.decode(_path(run.name, folder).read_bytes(), type=Result)
    except (OSError, msgspec.DecodeError):
        return None
    return result if result.command == run.command else None


def read_all(runs: Iterable[Run], folder: Path) -> dict[str, Result]:
    """By name, failed ones too."""
    found = ((run.name, read(run, folder)) for run in runs)
    return {name: result for name, result in found if result is not None}


def successes(results: Results) -> dict[str, Result]:
    """Those that have figures."""
    return {name: result for name, result in results.items() if not result.failure}


def _path(name: str, folder: Path) -> Path:
    return folder / f"{name}.json"


def _rounded(value: object) -> object:
    match value:
        case float():
            return float(f"{value:.{DIGITS_KEPT}g}")
        case dict():
            return {key: _rounded(part) for key, part in value.items()}
        case list() | tuple():
            return [_rounded(part) for part in value]
    return value


def _written(value: object, margin: str) -> str:
    """As JSON, an iteration a line."""
    inner = margin + " "
    if isinstance(value, dict) and any(isinstance(part, dict | list) for part in value.values()) and len(margin) < 2:
        parts = [f"{inner}{json.dumps(name)}: {_written(part, inner)}" for name, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{margin}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(inner + json.dumps(part) for part in value) + f"\n{margin}]"
    return json.dumps(value)
