"""Files that are replaced whole or not at all, whenever the process is killed or the power goes.

The new content is written beside the old, made durable, and takes its name in one step. Knows no content, but how a
record in JSON says by itself whether it is whole.
"""

# ruff: noqa: PTH105, PTH108 - every step is a call of `os`, so that a test can end the process before each of them

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> int:
    """Replaces a file, and returns its size: it holds the old content or all of the new. Raises: OSError."""
    draft = draft_of(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft)  # left by a life that ended in the middle of this
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            _write_all(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(draft, path)
    except OSError:
        with contextlib.suppress(OSError):  # where its folder is none, there is nothing to remove
            os.unlink(draft)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # makes the new name durable, not only the bytes behind it
    finally:
        os.close(folder)
    return len(content)


def sealed(record: msgspec.Struct) -> bytes:
    """The one way in which a record is written that has a field `checksum`: with the SHA-256 of itself without it.

    A file of it is whole if it is what this makes of the record that was read from it.
    """
    plain = msgspec.json.encode(msgspec.structs.replace(record, checksum=""), order="sorted")
    whole = msgspec.structs.replace(record, checksum=hashlib.sha256(plain).hexdigest())
    return msgspec.json.format(msgspec.json.encode(whole)) + b"\n"


def remove(path: Path) -> None:
    """Deletes a file, if it is there. Raises: OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def draft_of(path: Path) -> Path:
    """Where new content is written first; there is one at most, so that no number of kills fills the folder."""
    return path.with_name(f"{path.name}.new")


def _write_all(fd: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]
