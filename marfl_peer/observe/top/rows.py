"""One peer on one line: what it answered, or why it did not, in cells to show and values to sort by.

Knows the schema of a status; neither the network nor the terminal. What a peer sends is no markup and moves no cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.filesize import decimal

from marfl_peer.ids import short
from marfl_peer.observe.status import Status

NOTHING = "-"
MAX_CELL = 60
SortKey = tuple[int, float, str]
"""Numbers before texts, what is missing last; a text in the last place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A peer at `address`. `status`: its last answer, if it ever gave one; `trouble`: why there is none now, or ''."""

    address: str
    status: Status | None = None
    trouble: str = ""
    peer_id: str | None = None
    """As others know it, where it gave no answer itself."""
    now: float = 0.0
    """Unix seconds, when it was asked."""

    @property
    def name(self) -> str:
        peer_id = self.peer_id if self.status is None else self.status.peer_id
        return short(peer_id) if peer_id else NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`value` is what rows are sorted by, None where there is nothing; `text` is what is shown.

    `is_descending`: whether the highest comes first at the first look. `rank`: where there is no room for all columns,
    those of the highest rank are left out first.
    """

    title: str
    value: Callable[[Row], float | str | None]
    text: Callable[[Row], str]
    rank: int
    is_number: bool = False
    is_descending: bool = False


def sorted_rows(rows: Sequence[Row], column: Column, *, is_reversed: bool) -> list[Row]:
    """In the order of a column; equals by address, rows without a value at the end in any case."""
    valued = [row for row in rows if column.value(row) is not None]
    rest = [row for row in rows if column.value(row) is None]
    valued.sort(key=lambda row: row.address)
    valued.sort(key=lambda row: _key(column.value(row)), reverse=column.is_descending is not is_reversed)
    return valued + sorted(rest, key=lambda row: row.address)


def printable(text: str, limit: int = MAX_CELL) -> str:
    """A text of somebody else, on one line and not too long."""
    clean = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def _key(value: float | str | None) -> SortKey:
    return (1, 0.0, value) if isinstance(value, str) else (0, float(value or 0), "")


def _place(row: Row) -> str | None:
    status = row.status
    if status is None:
        return None
    if status.coordinates is not None:
        return ",".join(map(str, status.coordinates))
    return None if status.cell is None else str(status.cell)


def _iteration(row: Row) -> str:
    status = row.status
    if status is None or status.iteration is None:
        return NOTHING
    return f"{status.iteration}/{status.iterations}" if status.iterations else str(status.iteration)


def _phase(row: Row) -> str | None:
    status = row.status
    if row.trouble:
        return "unreachable"
    if status is None or status.phase is None:
        return None
    if status.round is None:
        return status.phase
    return f"{status.phase} {status.round}/{status.rounds}" if status.rounds else f"{status.phase} {status.round}"


def _mates(row: Row) -> str | None:
    status = row.status
    if status is None or status.group is None:
        return None
    mates = [member[:4] for member in status.group if member != status.peer_id]
    return " ".join(mates) or None


def _sent(row: Row) -> float | None:
    return None if row.status is None or row.status.bytes_sent is None else sum(row.status.bytes_sent.values())


def _failure(row: Row) -> str:
    if row.trouble:
        return row.trouble
    failure = None if row.status is None else row.status.last_failure
    if row.status is None or failure is None:
        return NOTHING
    # By the peer's own clock, so that it does not matter what time it is here.
    return f"{age(max((row.status.time or row.now) - failure.at, 0.0))} ago: {failure.code}: {failure.detail}"


def _failed_at(row: Row) -> float | None:
    if row.trouble:
        return row.now
    failure = None if row.status is None else row.status.last_failure
    if row.status is None or failure is None:
        return None
    return failure.at - (row.status.time or row.now) + row.now


def age(seconds: float) -> str:
    """90 -> "90 s", 600 -> "10 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"


def _number(read: Callable[[Status], float | None]) -> Callable[[Row], float | None]:
    return lambda row: None if row.status is None else read(row.status)


def _shown(read: Callable[[Status], float | None], form: Callable[[float], str]) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = None if row.status is None else read(row.status)
        return NOTHING if value is None else form(value)

    return text


COLUMNS: tuple[Column, ...] = (
    Column(title="peer", value=lambda row: row.name, text=lambda row: row.name, rank=0),
    Column(title="address", value=lambda row: row.address, text=lambda row: row.address, rank=6),
    Column(title="cell", value=_place, text=lambda row: _place(row) or NOTHING, rank=3),
    Column(
        title="iter",
        value=_number(lambda status: status.iteration),
        text=_iteration,
        rank=1,
        is_number=True,
        is_descending=True,
    ),
    Column(title="phase", value=_phase, text=lambda row: _phase(row) or NOTHING, rank=2),
    Column(title="group-mates", value=_mates, text=lambda row: _mates(row) or NOTHING, rank=8),
    Column(
        title="accuracy",
        value=_number(lambda status: status.test_accuracy),
        text=_shown(lambda status: status.test_accuracy, "{:.2%}".format),
        rank=5,
        is_number=True,
        is_descending=True,
    ),
    Column(
        title="sent",
        value=_sent,
        text=lambda row: NOTHING if (sent := _sent(row)) is None else decimal(int(sent)),
        rank=7,
        is_number=True,
        is_descending=True,
    ),
    Column(
        title="it/min",
        value=_number(lambda status: status.iterations_per_minute),
        text=_shown(lambda status: status.iterations_per_minute, "{:.1f}".format),
        rank=9,
        is_number=True,
        is_descending=True,
    ),
    Column(title="last failure", value=_failed_at, text=_failure, rank=4, is_descending=True),
)
"""From left to right."""
