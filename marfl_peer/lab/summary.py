"""The summary of a run: the JSON that `swarm` and `simulate` write, whatever the peers ran on.

Pure but for the one function that writes the file. All keys are always there; null stands for what nobody
reported.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab.churn.steps import NOTHING_DONE, ChurnCounts
from marfl_peer.lab.memory import MIB, Pss
from marfl_peer.lab.tally import IterationRow, Tally

SUMMARY = "summary.json"
"""Its name in the folder of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCounts:
    """`lost`: neither finished nor left because they were asked to, those that the churn plan killed for good too. Who
    was started again counts once, by how the last life ended."""

    started: int
    finished: int
    lost: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes sent per peer and iteration are by kind; PSS is the highest that was sampled, in MiB. `settings`: what all
    peers share; `command`: what starts such a run again; `churn_plan`: as it was named; `vector_bytes`: of what is
    averaged."""

    run_id: str
    task: str
    peers: int
    group_size: int
    grid: tuple[int, ...]
    exchange: str
    aggregation: str
    codec: str
    settings: dict[str, object]
    command: str
    vector_bytes: int | None
    iterations: Sequence[IterationRow]
    bytes_sent_per_peer_per_iteration: dict[str, float]
    dht_lookups_per_peer_per_iteration: float
    peers_started: int
    peers_finished: int
    peers_lost: int
    churn: ChurnCounts
    churn_plan: str
    wall_seconds: float
    pss_mib_max: float | None
    pss_mib_total: float | None


def summarise(
    settings: Settings,
    peers: int,
    tally: Tally,
    counts: PeerCounts,
    churn: ChurnCounts = NOTHING_DONE,
    *,
    command: str,
    churn_plan: str = "",
    wall_seconds: float,
    pss: Pss | None,
) -> Summary:
    """The summary of a run of `peers` peers from the facts they told and what became of their processes."""
    return Summary(
        run_id=settings.run_id,
        task=settings.task,
        peers=peers,
        group_size=settings.group_size,
        grid=tally.grid or (),
        exchange=settings.exchange,
        aggregation=settings.aggregation,
        codec=settings.codec,
        settings=settings.shared(),
        command=command,
        vector_bytes=tally.vector_bytes,
        iterations=tuple(tally.row(iteration) for iteration in tally.iterations),
        bytes_sent_per_peer_per_iteration=tally.bytes_sent_per_peer_per_iteration(),
        dht_lookups_per_peer_per_iteration=tally.dht_lookups_per_peer_per_iteration(),
        peers_started=counts.started,
        peers_finished=counts.finished,
        peers_lost=counts.lost,
        churn=churn,
        churn_plan=churn_plan,
        wall_seconds=wall_seconds,
        pss_mib_max=None if pss is None else pss.max_bytes / MIB,
        pss_mib_total=None if pss is None else pss.total_bytes / MIB,
    )


def check_writable(path: Path) -> None:
    """Says before a long run, rather than after it, that its summary has no place. Raises: ConfigError."""
    if path.is_dir():
        raise ConfigError("summary", str(path), "is a folder: name a file")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError("summary", str(path), "choose a file in an existing, writable folder")


def write_summary(summary: Summary, path: Path) -> None:
    """Writes the JSON in one step: readers see the old file or the whole new one. Raises: ConfigError."""
    text = msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n"
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as unfinished:
            try:
                unfinished.write(text)
                unfinished.flush()
                os.fchmod(unfinished.fileno(), 0o644)
                Path(unfinished.name).replace(path)
            except BaseException:
                Path(unfinished.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ConfigError("summary", str(path), f"cannot be written ({error.strerror})") from error
