"""Fetches a data set from its public mirrors, checks it against known SHA-256 sums and puts it into place in
one step. Knows HTTPS and files; reading what lies in them is the business of `idx` and `corpus`."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.request
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.corpus import ARCHIVE_NAME
from marfl_peer.learning.tasks.idx import open_plain, spellings

MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    # The first one's file has a number for a name; the second one, where the set comes from, has no HTTPS.
    "20news": ("https://ndownloader.figshare.com/files/5975967?name=", "http://qwone.com/~jason/20Newsgroups/"),
}
PIECE_BYTES = 2**16
GZIP_OVERHEAD_BYTES = 2**16
"""What gzip adds to bytes that do not get smaller is less."""
TIMEOUT_S = 30.0


class Item(Protocol):
    """One file of a data set. `filename`: on the mirrors, and after a download here; `names`: all that it may have
    here. The checksum is of what `open` gives, which has `size_bytes` at most."""

    @property
    def filename(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    def open(self, path: Path) -> AbstractContextManager[BinaryIO]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IdxFile:
    """Size and checksum are those of the uncompressed bytes."""

    stem: str
    dimensions: int
    size_bytes: int
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.stem}-idx{self.dimensions}-ubyte.gz"

    @property
    def names(self) -> tuple[str, ...]:
        return spellings(self.stem, self.dimensions)

    def open(self, path: Path) -> AbstractContextManager[BinaryIO]:
        return cast(AbstractContextManager[BinaryIO], open_plain(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Kept packed; the checksum is that of the file."""

    filename: str
    size_bytes: int
    sha256: str

    @property
    def names(self) -> tuple[str, ...]:
        return (self.filename,)

    def open(self, path: Path) -> AbstractContextManager[BinaryIO]:
        return path.open("rb")


ITEMS: dict[str, tuple[Item, ...]] = {
    "mnist": (
        IdxFile(
            stem="train-images",
            dimensions=3,
            size_bytes=47_040_016,
            sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        IdxFile(
            stem="train-labels",
            dimensions=1,
            size_bytes=60_008,
            sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        IdxFile(
            stem="t10k-images",
            dimensions=3,
            size_bytes=7_840_016,
            sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        IdxFile(
            stem="t10k-labels",
            dimensions=1,
            size_bytes=10_008,
            sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "20news": (
        Archive(
            filename=ARCHIVE_NAME,
            size_bytes=2**24,
            sha256="8f1b2514ca22a5ade8fbb9cfa5727df95fa587f4c87b786e15c759fa66d95610",
        ),
    ),
}

Progress = Callable[[str, int], None]
"""Called with the name of a file and the bytes received of it so far."""


class Response(Protocol):
    """What is needed of an HTTP response."""

    def read(self, amount: int, /) -> bytes: ...


OpenUrl = Callable[[str], AbstractContextManager[Response]]


def open_https(url: str) -> AbstractContextManager[Response]:
    """Raises: OSError where nobody answers."""
    response: AbstractContextManager[Response] = urllib.request.urlopen(url, timeout=TIMEOUT_S)
    return response


def fetch(
    dataset: str,
    target: Path,
    *,
    mirrors: tuple[str, ...] | None = None,
    progress: Progress | None = None,
    open_url: OpenUrl = open_https,
) -> tuple[Path, ...]:
    """The files of `dataset` in the folder `target`; those that are not there yet are downloaded.

    Raises: ConfigError for an unknown data set, a folder that cannot be written, or where no mirror gives the
    right bytes, with what to do by hand.
    """
    if dataset not in ITEMS:
        raise ConfigError("dataset", dataset, f"choose one of {', '.join(ITEMS)}")
    mirrors = MIRRORS[dataset] if mirrors is None else mirrors
    return tuple(
        _present(item, target) or _download(dataset, item, target, mirrors, progress, open_url)
        for item in ITEMS[dataset]
    )


def _present(item: Item, target: Path) -> Path | None:
    for name in item.names:
        if (target / name).is_file() and _fault(target / name, item) is None:
            return target / name
    return None


def _download(
    dataset: str,
    item: Item,
    target: Path,
    mirrors: tuple[str, ...],
    progress: Progress | None,
    open_url: OpenUrl,
) -> Path:
    failures = []
    for mirror in mirrors:
        part = _new_part(item, target)
        try:
            fault = _receive(mirror + item.filename, part, item, progress, open_url) or _fault(part, item)
            if fault is None:
                part.chmod(0o644)
                return part.replace(target / item.filename)
            failures.append(f"{mirror}: {fault}")
        finally:
            part.unlink(missing_ok=True)
    raise ConfigError(f"{dataset} download", item.filename, _by_hand(dataset, target, failures))


def _new_part(item: Item, target: Path) -> Path:
    try:
        target.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target, prefix=f".{item.filename}.", suffix=".part")
    except OSError as error:
        raise ConfigError("data folder", str(target), f"cannot be written: {error}; name another") from error
    os.close(handle)
    return Path(name)


def _receive(url: str, part: Path, item: Item, progress: Progress | None, open_url: OpenUrl) -> str | None:
    """What went wrong, or None."""
    received = 0
    try:
        with open_url(url) as response, part.open("wb") as file:
            while piece := response.read(PIECE_BYTES):
                received += len(piece)
                if received > item.size_bytes + GZIP_OVERHEAD_BYTES:
                    return "sends more than the file has"
                file.write(piece)
                if progress is not None:
                    progress(item.filename, received)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return None


def _fault(path: Path, item: Item) -> str | None:
    """What is wrong with a file, or None if its bytes are the right ones."""
    digest, size = hashlib.sha256(), 0
    try:
        with item.open(path) as file:
            while size <= item.size_bytes and (piece := file.read(PIECE_BYTES)):
                digest.update(piece)
                size += len(piece)
    except (OSError, EOFError, zlib.error) as error:
        return str(error) or type(error).__name__
    if digest.hexdigest() != item.sha256:
        return "its bytes are not those of the file (SHA-256 differs)"
    return None


def _by_hand(dataset: str, target: Path, failures: list[str]) -> str:
    names = ", ".join(item.filename for item in ITEMS[dataset])
    tried = "; ".join(failures) or "no mirror given"
    return (
        f"no mirror gave it ({tried}). Without a network: copy {names} into {target} "
        f"and run `marfl-peer data fetch {dataset}` again to check them, "
        "or name a folder that holds them with --data-dir"
    )
