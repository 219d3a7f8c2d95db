"""A run's figures from the journals of its peers, where nobody wrote its summary: it still runs, or was killed.

Knows folders and journals; what is added up, is the tally's business. Settings are in no journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from marfl_peer.errors import ConfigError
from marfl_peer.facts import PeerStarted, PeerStopped
from marfl_peer.lab.tally import Tally
from marfl_peer.observe.journal import read_journal
from marfl_peer.observe.report.runs import Iteration, Run, checked

JOURNAL = "journal.jsonl"
FINISHED = ("finished", "target_reached")
GONE = ("left", *FINISHED)


def journals_in(folder: Path) -> list[Path]:
    """The journals of a swarm's peers, or that of the one peer whose state folder it is."""
    found = sorted(folder.glob(f"peer-*/{JOURNAL}"))
    return found or [path for path in (folder / JOURNAL,) if path.is_file()]


@dataclass(slots=True)
class _Ends:
    """When a peer told its first fact and its last, and how it said that it ended."""

    first_at: float
    last_at: float
    stopped: PeerStopped | None = None


def run_of_journals(journals: Sequence[Path], *, name: str, origin: str) -> Run:
    """What the journals tell of the run that the newest of them is of.

    A peer that did not say how it ended counts as lost, as in a summary. Raises: ConfigError where nobody finished an
    iteration, or a journal cannot be read; its lines that are no facts are passed over.
    """
    last_of = {path: _last_run(path) for path in journals}
    started = {path: begun for path, begun in last_of.items() if begun is not None}
    if not started:
        raise ConfigError(origin, None, "holds no journal of a peer that was started")
    newest = max(started.values(), key=lambda begun: begun.at)
    ours = [path for path in journals if path in started and started[path].fact.run_id == newest.fact.run_id]
    tally, ends = Tally(), {}
    for index, path in enumerate(ours):
        ends[index] = _tell(tally, index, path, from_line=started[path].first_line)
    return checked(_run(tally, list(ends.values()), newest.fact, name=name), origin=origin)


@dataclass(frozen=True, slots=True)
class _Begun:
    """The start of a peer, and the line where what it tells of that run begins."""

    at: float
    fact: PeerStarted
    first_line: int


def _last_run(path: Path) -> _Begun | None:
    begun: _Begun | None = None
    for line, (at, fact) in enumerate(read_journal(path)):
        if isinstance(fact, PeerStarted):
            is_same = begun is not None and begun.fact.run_id == fact.run_id
            begun = _Begun(at, fact, begun.first_line if is_same and begun is not None else line)
    return begun


def _tell(tally: Tally, index: int, path: Path, *, from_line: int) -> _Ends:
    ends: _Ends | None = None
    for line, (at, fact) in enumerate(read_journal(path)):
        if line < from_line:
            continue
        ends = ends or _Ends(at, at)
        ends.last_at = at
        ends.stopped = fact if isinstance(fact, PeerStopped) else ends.stopped
        if isinstance(fact, PeerStarted):
            ends.stopped = None
        tally.add(index, fact)
    assert ends is not None
    return ends


def _run(tally: Tally, ends: Sequence[_Ends], begun: PeerStarted, *, name: str) -> Run:
    view = tally.largest_view
    peers = max(len(ends), 0 if view is None else view.peers)
    grid = tally.grid or ()
    reasons = [end.stopped.reason if end.stopped is not None else "" for end in ends]
    return Run(
        run_id=begun.run_id,
        task=begun.task,
        peers=peers,
        group_size=max(grid, default=0),
        grid=grid,
        vector_bytes=tally.vector_bytes,
        iterations=tuple(_iterations(tally)),
        bytes_sent_per_peer_per_iteration=tally.bytes_sent_per_peer_per_iteration(),
        peers_started=len(ends),
        peers_finished=sum(reason in FINISHED for reason in reasons),
        peers_lost=sum(reason not in GONE for reason in reasons),
        wall_seconds=max(end.last_at for end in ends) - min(end.first_at for end in ends),
        name=name,
        heard=len(ends) if len(ends) < peers else None,
    )


def _iterations(tally: Tally) -> Iterator[Iteration]:
    for iteration in tally.iterations:
        yield msgspec.convert(msgspec.to_builtins(tally.row(iteration)), Iteration)
