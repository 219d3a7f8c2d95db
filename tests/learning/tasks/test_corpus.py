from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks import corpus
from marfl_peer.learning.tasks.corpus import ARCHIVE_NAME, GROUPS, digest_of, find_corpus, read_corpus
from tests.learning.tasks.news import pack, write_corpus

REMEDY = "do something"


def test_archive_and_folder_give_the_same_texts_in_one_order(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "folder", texts=3)
    texts = read_corpus(folder, remedy=REMEDY)
    assert texts == read_corpus(pack(folder, tmp_path / "packed"), remedy=REMEDY)
    assert len(texts) == 2 * 20 * 3
    assert [(text.label, text.number) for text in texts if text.part == "test"][:4] == [
        (0, 9),
        (0, 10),
        (0, 11),
        (1, 9),
    ]
    assert "caf\xe9" in texts[0].content


def test_corpus_is_found_as_a_folder_before_an_archive(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; do something"):
        find_corpus(tmp_path / "absent", remedy=REMEDY)
    with pytest.raises(ConfigError, match=f"holds neither .* nor {ARCHIVE_NAME}; do something"):
        find_corpus(tmp_path, remedy=REMEDY)
    (tmp_path / ARCHIVE_NAME).touch()
    assert find_corpus(tmp_path, remedy=REMEDY) == tmp_path / ARCHIVE_NAME
    write_corpus(tmp_path)
    assert find_corpus(tmp_path, remedy=REMEDY) == tmp_path


def test_what_desktops_leave_in_folders_is_no_text(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path)
    whole = read_corpus(folder, remedy=REMEDY)
    (folder / "20news-bydate-train/.DS_Store").touch()
    (folder / "20news-bydate-train/sci.med/.directory").touch()
    (folder / f"20news-bydate-train/sci.med/{'9' * 200}").touch()
    (folder / "20news-bydate-train/sci.med/7").mkdir()
    (folder / "20news-bydate-train/sci.med/7/8").touch()
    assert read_corpus(folder, remedy=REMEDY) == whole


@pytest.mark.parametrize("change", ["content", "name"])
def test_digest_changes_with_every_text(tmp_path: Path, change: str) -> None:
    folder = write_corpus(tmp_path)
    before, text = digest_of(folder), folder / "20news-bydate-test/sci.med/9"
    if change == "name":
        text.rename(text.with_name("99"))
    else:
        text.write_bytes(text.read_bytes()[:-1] + b"E")
    assert digest_of(folder) != before


def test_digest_of_an_archive_is_that_of_its_bytes(tmp_path: Path) -> None:
    archive = pack(write_corpus(tmp_path / "folder"), tmp_path)
    before = digest_of(archive)
    archive.write_bytes(archive.read_bytes() + b"\0")
    assert digest_of(archive) != before


def test_corpus_that_lacks_a_group_names_it(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path)
    for path in (folder / "20news-bydate-test/sci.space").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"no text of sci\.space in its part test; do something"):
        read_corpus(folder, remedy=REMEDY)


@pytest.mark.parametrize("keep", [0, 10, 700])
def test_archive_that_is_damaged_is_named(tmp_path: Path, keep: int) -> None:
    archive = pack(write_corpus(tmp_path / "folder"), tmp_path)
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(ConfigError, match=f"{ARCHIVE_NAME}.*do something"):
        read_corpus(archive, remedy=REMEDY)


def test_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    for name, message in (
        ("20news-bydate-train/rec.food/1", "of no group of 20 Newsgroups"),
        ("readme.txt", f"no text of {GROUPS[0]} in its part train"),
    ):
        with tarfile.open(tmp_path / ARCHIVE_NAME, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        with pytest.raises(ConfigError, match=message):
            read_corpus(tmp_path / ARCHIVE_NAME, remedy=REMEDY)


def test_what_is_too_long_or_too_many_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_corpus(tmp_path / "folder")
    archive = pack(folder, tmp_path)
    monkeypatch.setattr(corpus, "MAX_TEXT_BYTES", 20)
    for source in (folder, archive):
        with pytest.raises(ConfigError, match="no post is so long"):
            read_corpus(source, remedy=REMEDY)
    monkeypatch.undo()
    monkeypatch.setattr(corpus, "MAX_TEXTS", 79)
    with pytest.raises(ConfigError, match="more than 79 texts"):
        read_corpus(archive, remedy=REMEDY)
