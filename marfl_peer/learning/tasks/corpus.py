"""Reads 20 Newsgroups, split by date, from its archive or from the folder that this unpacks to.

Texts come in one order, whatever lies where: by part, group and number. Nothing is unpacked onto the disk.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from marfl_peer.errors import ConfigError

Part = Literal["train", "test"]

ARCHIVE_NAME = "20news-bydate.tar.gz"
FOLDERS: dict[str, Part] = {"20news-bydate-train": "train", "20news-bydate-test": "test"}
GROUPS = (
    "alt.atheism",
    "comp.graphics",
    "comp.os.ms-windows.misc",
    "comp.sys.ibm.pc.hardware",
    "comp.sys.mac.hardware",
    "comp.windows.x",
    "misc.forsale",
    "rec.autos",
    "rec.motorcycles",
    "rec.sport.baseball",
    "rec.sport.hockey",
    "sci.crypt",
    "sci.electronics",
    "sci.med",
    "sci.space",
    "soc.religion.christian",
    "talk.politics.guns",
    "talk.politics.mideast",
    "talk.politics.misc",
    "talk.religion.misc",
)
"""In the order of their labels."""
MAX_TEXT_BYTES = 2**22
"""The longest post has 160,616 bytes: a file of more than this is none."""
MAX_TEXTS = 100_000
MAX_DIGITS = 18
"""Of the number of a post."""
ENCODING = "latin-1"


@dataclass(frozen=True, slots=True, order=True)
class Text:
    """One post; `label` is its group's place in GROUPS."""

    part: Part
    label: int
    number: int
    content: str


def find_corpus(folder: Path, *, remedy: str) -> Path:
    """The archive, or the folder with the two parts, in `folder`. Raises: ConfigError, ending in `remedy`."""
    if not folder.is_dir():
        raise ConfigError("data folder", str(folder), f"does not exist; {remedy}")
    if all((folder / name).is_dir() for name in FOLDERS):
        return folder
    if (folder / ARCHIVE_NAME).is_file():
        return folder / ARCHIVE_NAME
    raise ConfigError("data folder", str(folder), f"holds neither {' and '.join(FOLDERS)} nor {ARCHIVE_NAME}; {remedy}")


def digest_of(corpus: Path) -> str:
    """What changes with every text: the SHA-256 of the archive, or of all files of the folder. Raises: OSError."""
    digest = hashlib.sha256()
    if corpus.is_file():
        with corpus.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    for name in FOLDERS:
        for path in sorted((corpus / name).rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(corpus)} {path.stat().st_size}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def read_corpus(corpus: Path, *, remedy: str) -> list[Text]:
    """All texts, in order. Raises: ConfigError that names what is wrong, and `remedy`."""
    try:
        files = _of_archive(corpus) if corpus.is_file() else _of_folder(corpus)
        texts = sorted(_texts(files))
    except (OSError, EOFError, zlib.error, tarfile.TarError, _Damage) as error:
        said = str(error).partition(":\n")[0] or type(error).__name__  # tarfile goes on with every format it tried
        raise ConfigError(str(corpus), None, f"{said}; {remedy}") from error
    for part in FOLDERS.values():
        labels = {text.label for text in texts if text.part == part}
        missing = [group for label, group in enumerate(GROUPS) if label not in labels]
        if missing:
            raise ConfigError(str(corpus), None, f"has no text of {missing[0]} in its part {part}; {remedy}")
    return texts


class _Damage(Exception):
    """What is wrong with a file."""


@dataclass(frozen=True, slots=True)
class _File:
    """One that is not read yet. `path` begins with the part's folder."""

    path: PurePosixPath
    size: int
    read: Callable[[], bytes]


def _of_archive(archive: Path) -> Iterator[_File]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if (file := tar.extractfile(member) if member.isfile() else None) is not None:
                yield _File(PurePosixPath(member.name), member.size, file.read)


def _of_folder(folder: Path) -> Iterator[_File]:
    for name in FOLDERS:
        for path in (folder / name).rglob("*"):
            if path.is_file():
                yield _File(PurePosixPath(path.relative_to(folder)), path.stat().st_size, path.read_bytes)


def _is_text(path: PurePosixPath) -> bool:
    """PART/GROUP/NUMBER; anything else, such as what a desktop leaves in folders, is passed over."""
    parts = path.parts
    return len(parts) == 3 and parts[0] in FOLDERS and parts[2].isdecimal() and len(parts[2]) <= MAX_DIGITS


def _texts(files: Iterable[_File]) -> Iterator[Text]:
    for count, file in enumerate(file for file in files if _is_text(file.path)):
        folder, group, number = file.path.parts
        if file.size > MAX_TEXT_BYTES:
            raise _Damage(f"{file.path} has {file.size} bytes: no post is so long")
        if group not in GROUPS:
            raise _Damage(f"{file.path} is of no group of 20 Newsgroups")
        if count >= MAX_TEXTS:
            raise _Damage(f"holds more than {MAX_TEXTS} texts")
        yield Text(FOLDERS[folder], GROUPS.index(group), int(number), file.read().decode(ENCODING))
