"""The words between the launcher and the nursery: one JSON line each, over the nursery's stdin and stdout.

First a `Job` goes in; then commands go in and reports come out. Also names the seam by which anything else
than a peer can be hatched (`Prepare`). Must not know torch, peers or processes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from marfl_peer.config import Settings


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the nursery has to prepare before the first fork.

    `entry` is "package.module:function" of a `Prepare`; `settings` are those of the run, `facts_path` the
    Unix socket to which every child streams its facts.
    """

    entry: str
    settings: Settings
    facts_path: str


class Start(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Fork a child. `index` names it; it may be used again once that child is gone."""

    index: int
    settings: Settings


class Signal(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Send a signal to a child; nothing happens when it is gone already."""

    index: int
    number: int


Command = Start | Signal


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Everything is in memory: a start is now a fork, which is safe with one thread only."""

    seconds: float
    rss_bytes: int
    threads: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The job cannot be done; `config` says that it is the user's to mend, as in ConfigError."""

    what: str
    value: str | int | float | None
    remedy: str
    config: bool


class Started(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    index: int
    pid: int


class Exited(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`code` when it ended by itself, else the `signal` that ended it."""

    index: int
    code: int | None
    signal: int | None


Report = Ready | Refused | Started | Exited

ChildMain = Callable[[Start], int]
"""Runs in the forked child until its work is done and returns the exit code."""

Prepare = Callable[[Job], ChildMain]
"""Runs once in the nursery before the first fork: all that is imported and loaded here is shared by the
children. It must leave no thread behind. Raises: MarflError when the job cannot be done.
"""


def encode(message: Job | Command | Report) -> bytes:
    """One line of JSON with its newline."""
    return msgspec.json.encode(message, enc_hook=_to_json) + b"\n"


def decode_job(line: bytes) -> Job:
    """Raises: msgspec.DecodeError, ConfigError."""
    return msgspec.json.decode(line, type=Job, dec_hook=_from_json)


def decode_command(line: bytes) -> Command:
    """Raises: msgspec.DecodeError, ConfigError."""
    command: Command = msgspec.json.decode(line, type=Command, dec_hook=_from_json)
    return command


def decode_report(line: bytes) -> Report:
    """Raises: msgspec.DecodeError."""
    report: Report = msgspec.json.decode(line, type=Report)
    return report


def _to_json(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value).__name__)


def _from_json(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(kind.__name__)
