"""How figures of a run are written for people: percentages, sizes, durations, grids. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from rich.filesize import decimal

from marfl_peer.lab.churn.steps import ChurnCounts
from marfl_peer.lab.tally import BYTE_KINDS, IterationRow

UNKNOWN = "–"
SPARKS = "▁▂▃▄▅▆▇█"


def percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.2f} %"


def number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def epsilons(row: IterationRow | None) -> str:
    """What private updates have cost by this iteration; empty where updates are not private."""
    if row is None or row.epsilon_mate is None or row.epsilon_outsider is None:
        return ""
    return f"{row.epsilon_mate:.4g} against a group-mate, {row.epsilon_outsider:.4g} against an outsider"


def scientific(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1e}"


def seconds(duration_s: float | None) -> str:
    return UNKNOWN if duration_s is None else f"{duration_s:.2f} s"


def clock(duration_s: float) -> str:
    """Minutes and seconds, as 1:05."""
    minutes, rest = divmod(int(duration_s), 60)
    return f"{minutes}:{rest:02d}"


def grid(shape: Sequence[int] | None, peers: int = 1) -> str:
    """As "4×4 grid"; many peers without one are placed by a hash."""
    if shape is None:
        return "no grid yet"
    if not shape and peers > 1:
        return "swarm without a grid"
    return "×".join(map(str, shape)) + " grid" if shape else "grid of one cell"


def scheme(aggregation: str, exchange: str) -> str:
    """How peers average, in a word: what groups of MAR do, or the name of another scheme."""
    return exchange if aggregation == "mar" else aggregation


def sizes(amounts: Mapping[str, float]) -> str:
    """Bytes by kind, as "28.8 MB tensor, 12.0 kB control"; kinds without bytes are left out."""
    parts = [f"{decimal(round(amount))} {kind}" for kind, amount in amounts.items() if amount]
    return ", ".join(parts) or "nothing"


def per_peer(row: IterationRow) -> dict[str, float]:
    """Bytes sent by kind, of the average peer that finished the iteration."""
    finished = max(1, row.peers_alive - row.peers_skipped)
    return {kind: row.bytes_sent.get(kind, 0) / finished for kind in BYTE_KINDS}


def churned(counts: ChurnCounts) -> str:
    """As "13 killed, 9 restarted"; empty where nothing was done."""
    parts = ((name.replace("_", " "), count) for name, count in dataclasses.asdict(counts).items())
    return ", ".join(f"{count} {what}" for what, count in parts if count)


def known(values: Iterable[float | None]) -> list[float]:
    """The finite ones, in order."""
    return [value for value in values if value is not None and math.isfinite(value)]


def last(values: Sequence[float]) -> float | None:
    return values[-1] if values else None


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars between their least and their greatest."""
    shown = values[-width:]
    if not shown:
        return ""
    low, span = min(shown), max(shown) - min(shown)
    top = len(SPARKS) - 1
    return "".join(SPARKS[top if span == 0 else round((value - low) / span * top)] for value in shown)
