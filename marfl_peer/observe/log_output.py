"""How log lines are printed: as text for people or as JSON for programs, each with the peer, iteration and round.

Knows log records and where the peer is. A record's `fact`, where it has one, is what a JSON line's fields are.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal, TextIO, get_args

import msgspec

from marfl_peer.facts import Fact, IterationFinished
from marfl_peer.ids import short
from marfl_peer.observe.position import Position

LogFormat = Literal["text", "json"]
LOG_FORMATS: tuple[str, ...] = get_args(LogFormat)
MAX_FIELD = 200
"""Characters of a text in a field: what other peers say must not fill a disk."""


class Where(logging.Filter):
    """Lets every record pass, and says on each where the peer was: `peer_id`, `iteration`, `round`."""

    def __init__(self, position: Position) -> None:
        super().__init__()
        self._position = position

    def filter(self, record: logging.LogRecord) -> bool:
        position, fact = self._position, getattr(record, "fact", None)
        iteration, round = position.iteration or None, position.round
        if isinstance(fact, IterationFinished):
            iteration, round = fact.iteration, None
        elif isinstance(fact, Fact) and isinstance(own := getattr(fact, "round", None), int):
            iteration, round = getattr(fact, "iteration", iteration), own
        record.__dict__.update(peer_id=position.peer_id, iteration=iteration, round=round)
        return True


class TextLines(logging.Formatter):
    """Time, level, peer, iteration and round (- where there is none), message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(where)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        found = record.__dict__
        peer_id, iteration, round = (found.get(name) for name in ("peer_id", "iteration", "round"))
        record.__dict__["where"] = f"{short(peer_id) if peer_id else '-':8} i{_or_dash(iteration)} r{_or_dash(round)}"
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """One object a line, of ASCII only: time, level, peer_id, iteration, round, code, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        found = record.__dict__
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "peer_id": found.get("peer_id"),
            "iteration": found.get("iteration"),
            "round": found.get("round"),
            "code": code_of(record),
            "message": record.getMessage(),
            "fields": _fields(record, self),
        }
        return json.dumps(line, allow_nan=False)


def code_of(record: logging.LogRecord) -> str | None:
    """The word to look for: the reason that a fact names as its code, else its kind, `iteration_finished`."""
    fact = getattr(record, "fact", None)
    if not isinstance(fact, Fact):
        code = getattr(record, "code", None)
        return code if isinstance(code, str) else None
    code = getattr(fact, "code", None)
    return code if isinstance(code, str) else re.sub(r"(?<!^)(?=[A-Z])", "_", type(fact).__name__).lower()


@contextmanager
def logging_to(
    stream: TextIO, level: str, *, log_format: str = "text", position: Position | None = None
) -> Iterator[None]:
    """Prints log lines of this package from `level` on, and warnings of all others, while it is entered."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    handler.addFilter(Where(position or Position()))
    root, own = logging.getLogger(), logging.getLogger("marfl_peer")
    before = own.level
    root.addHandler(handler)
    own.setLevel(level.upper())
    try:
        yield
    finally:
        own.setLevel(before)
        root.removeHandler(handler)


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, object]:
    fact = getattr(record, "fact", None)
    if isinstance(fact, Fact):
        # By way of JSON, where what is not finite is null.
        decoded: dict[str, object] = msgspec.json.decode(msgspec.json.encode(fact), type=dict[str, object])
        return {name: _cut(value) for name, value in decoded.items()}
    fields: dict[str, object] = {"logger": record.name}
    if record.exc_info:
        fields["exception"] = formatter.formatException(record.exc_info)
    return fields


def _cut(value: object) -> object:
    return value[:MAX_FIELD] + "..." if isinstance(value, str) and len(value) > MAX_FIELD else value
