"""Small corpora in the form of 20 Newsgroups, for tests."""

from __future__ import annotations

import tarfile
from pathlib import Path

from marfl_peer.learning.tasks.corpus import ARCHIVE_NAME, FOLDERS, GROUPS


def write_corpus(folder: Path, *, texts: int = 2) -> Path:
    """`texts` posts a group and part, each with words of its group alone. Returns the folder."""
    for name in FOLDERS:
        for label, group in enumerate(GROUPS):
            (folder / name / group).mkdir(parents=True)
            for number in range(texts):
                words = f"Subject: {group}\n\nword{label}a word{label}b word{label}b post{number} caf\xe9"
                (folder / name / group / str(9 + number)).write_bytes(words.encode("latin-1"))
    return folder


def pack(folder: Path, target: Path) -> Path:
    """The archive of a corpus, in `target`."""
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target / ARCHIVE_NAME, "w:gz") as tar:
        for name in reversed(FOLDERS):
            tar.add(folder / name, name)
    return target / ARCHIVE_NAME
