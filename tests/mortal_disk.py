"""A disk under `marfl_peer.disk` on which the process dies, or the power goes, at a chosen call of the system.

It works on real files and keeps beside them what would be there after a power cut: contents that were not synced are
cut in the middle or empty, names that were not synced are the old ones.
"""

# ruff: noqa: PTH105, PTH108 - it stands for `os`

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from marfl_peer import disk


class Death(BaseException):
    """The process is killed: nothing of it runs any more, no `except OSError` and no `finally` that matters."""


class MortalDisk:
    """Use it as a context: calls of the system are counted in it, and the process dies before number `dies_at`, or
    (`half`) in the middle of it, if it writes."""

    def __init__(self, folder: Path, *, dies_at: int, half: bool = False) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self.died = False
        self._dies_at, self._half = dies_at, half
        self._synced_content: dict[int, bytes] = {}
        """By inode."""
        self._synced_names: dict[str, int] = {}
        self._held: list[int] = []
        """Descriptors that keep inodes from being used again."""

    def begin(self, files: dict[str, bytes]) -> None:
        """The folder with these files, all of them durable."""
        self.folder.mkdir(parents=True)
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        self.settle()

    def settle(self) -> None:
        """All that is there now is durable."""
        for path in self.folder.iterdir():
            fd = os.open(path, os.O_RDONLY)
            self._held.append(fd)
            self._synced_content[os.fstat(fd).st_ino] = path.read_bytes()
        self._synced_names = self._names()

    def __enter__(self) -> Self:
        disk.os = self  # type: ignore[attr-defined,assignment]  # the seam of that module
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        disk.os = os  # type: ignore[attr-defined]
        self.died = isinstance(error, Death)
        return self.died

    def aftermaths(self) -> Iterator[Path]:
        """Folders as the next life may find them: after a kill, and after power cuts of every kind."""
        now = {name: (self.folder / name).read_bytes() for name in self._names()}
        inodes = self._names()
        yield self._made("killed", now)
        cuts = itertools.product((self._synced_names, inodes), ("synced", "half", "all"))
        for number, (names, contents) in enumerate(cuts):
            found = {}
            for name, inode in names.items():
                durable = self._synced_content.get(inode, b"")
                current = next((now[other] for other, at in inodes.items() if at == inode), durable)
                if contents == "half" and current != durable:
                    durable = current[: len(current) // 2]
                found[name] = current if contents == "all" else durable
            yield self._made(f"cut-{number}", found)
        for fd in self._held:
            os.close(fd)
        self._held.clear()

    def _made(self, kind: str, files: dict[str, bytes]) -> Path:
        folder = self.folder.with_name(f"{self.folder.name}-{kind}")
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    def _names(self) -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in self.folder.iterdir()}

    # what stands for `os`

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _call(self, name: str) -> bool:
        """Counts; False where the call is the last thing that happens, and only by half."""
        if self.calls and len(self.calls) > self._dies_at:
            raise Death  # nothing happens after death, whatever a `finally` tries
        self.calls.append(name)
        if len(self.calls) > self._dies_at:
            if self._half and name == "write":
                return False
            raise Death
        return True

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        self._call("open")
        fd = os.open(path, flags, mode)
        if flags & os.O_CREAT:
            self._held.append(os.dup(fd))
        return fd

    def write(self, fd: int, content: bytes) -> int:
        if not self._call("write"):
            os.write(fd, content[: len(content) // 2])
            raise Death
        return os.write(fd, content)

    def fsync(self, fd: int) -> None:
        self._call("fsync")
        inode = os.fstat(fd).st_ino
        if inode == self.folder.stat().st_ino:
            self._synced_names = self._names()
        else:
            path = next(self.folder / name for name, at in self._names().items() if at == inode)
            self._synced_content[inode] = path.read_bytes()

    def replace(self, source: Path, target: Path) -> None:
        self._call("replace")
        os.replace(source, target)

    def unlink(self, path: Path) -> None:
        self._call("unlink")
        os.unlink(path)


def deaths(folder: Path, *, half: bool = False) -> Iterator[MortalDisk]:
    """A disk for every call of the system that what is done with it makes, and at last one that nothing ends on."""
    for number in itertools.count():
        mortal = MortalDisk(folder / f"death-{number}", dies_at=number, half=half)
        yield mortal
        if not mortal.died:
            return
