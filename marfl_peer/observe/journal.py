"""Facts as JSON lines in a file: what a peer did, for whoever asks later.

Knows facts and one file. It must never stop a peer: a disk that is full ends the journal with one warning.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from marfl_peer.errors import ConfigError
from marfl_peer.facts import AnyFact, Fact, decode_fact, encode_fact

MAX_BYTES = 64 * 2**20

_log = logging.getLogger(__name__)


class Journal:
    """A sink that appends each fact as `{"at": seconds since the epoch, "fact": its name, ...}`.

    `facts.decode_fact` reads a line back. Every line is one write, so that a killed peer leaves whole lines.
    At `max_bytes` the file becomes `NAME.1`, in place of an older one, and a new one begins: at most twice
    `max_bytes` are kept. Close it, or use it as a context manager.
    """

    def __init__(self, path: Path, *, wall: Callable[[], float] = time.time, max_bytes: int = MAX_BYTES) -> None:
        """Opens the file for appending and makes its folder. Raises: ConfigError where that cannot be."""
        self._path = path
        self._wall = wall
        self._max_bytes = max_bytes
        self._fd: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._opened()
        except OSError as error:
            raise ConfigError(
                str(path), None, f"cannot be written ({error.strerror}): choose another --state-dir"
            ) from None

    @property
    def is_open(self) -> bool:
        """False once closed, or after a line could not be written."""
        return self._fd is not None

    def __call__(self, fact: Fact) -> None:
        if self._fd is None:
            return
        line = b'{"at":%.6f,' % self._wall() + encode_fact(fact)[1:] + b"\n"
        try:
            fd = self._fd
            if self._size and self._size + len(line) > self._max_bytes:
                fd = self._rotated()
            self._write(fd, line)
        except OSError as error:
            _log.warning("%s: %s: no more facts are written to it", self._path, error.strerror)
            self.close()

    def close(self) -> None:
        """Closes the file; facts that come later are dropped."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> int:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(fd).st_size
        if self._size and os.pread(fd, 1, self._size - 1) != b"\n":
            self._write(fd, b"\n")  # the machine went down in the middle of a line: spoil no other
        return fd

    def _write(self, fd: int, line: bytes) -> None:
        written = os.write(fd, line)
        self._size += written
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _rotated(self) -> int:
        self.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._fd = self._opened()
        return self._fd


class _Stamp(msgspec.Struct, frozen=True):
    at: float


def read_journal(path: Path) -> Iterator[tuple[float, AnyFact]]:
    """The facts of a journal with their times, in seconds since the epoch: first those of `NAME.1`, if it is there.

    Lines that are no facts are passed over: a machine may go down in the middle of one, and other versions know others.
    Raises: ConfigError for a file that cannot be read.
    """
    for part in (path.with_name(path.name + ".1"), path):
        try:
            with part.open("rb") as lines:
                yield from _facts(lines)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(str(part), None, f"cannot be read ({error.strerror})") from None


def _facts(lines: Iterable[bytes]) -> Iterator[tuple[float, AnyFact]]:
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=_Stamp).at, decode_fact(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
