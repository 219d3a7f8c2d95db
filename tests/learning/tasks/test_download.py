from __future__ import annotations

import gzip
import hashlib
import http.client
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.error import URLError

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks import download
from marfl_peer.learning.tasks.download import ITEMS, MIRRORS, Archive, IdxFile, fetch, open_https

CONTENTS = {
    "train-images": bytes(range(256)) * 300,
    "train-labels": b"train labels" * 9,
    "t10k-images": b"test images" * 99,
    "t10k-labels": b"test labels",
}
NAMES = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]


class Web:
    """Two mirrors, "a/" and "b/", whose answers can be changed; remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, bytes | Exception] = {}
        for stem, content in CONTENTS.items():
            name = next(name for name in NAMES if name.startswith(stem))
            self.answers |= {f"a/{name}": gzip.compress(content), f"b/{name}": gzip.compress(content)}

    def open(self, url: str) -> AbstractContextManager[io.BytesIO]:
        self.asked.append(url)
        answer = self.answers[url]
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    items = tuple(
        IdxFile(
            stem=stem,
            dimensions=3 if stem.endswith("images") else 1,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        for stem, content in CONTENTS.items()
    )
    monkeypatch.setattr(download, "ITEMS", {"mnist": items})
    return Web()


def fetched(web: Web, target: Path, progress: Callable[[str, int], None] | None = None) -> tuple[Path, ...]:
    return fetch("mnist", target, mirrors=("a/", "b/"), progress=progress, open_url=web.open)


def test_fetch_puts_the_files_into_a_new_folder_and_leaves_nothing_else(web: Web, tmp_path: Path) -> None:
    paths = fetched(web, tmp_path / "new/folder")
    assert [path.name for path in paths] == NAMES
    assert {path.name for path in (tmp_path / "new/folder").iterdir()} == set(NAMES)
    assert gzip.decompress(paths[0].read_bytes()) == CONTENTS["train-images"]
    assert paths[0].stat().st_mode & 0o777 == 0o644
    assert web.asked == [f"a/{name}" for name in NAMES]


def test_fetch_of_files_that_are_there_asks_nobody(web: Web, tmp_path: Path) -> None:
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(CONTENTS["train-labels"])
    fetched(web, tmp_path)
    assert len(web.asked) == 3
    fetched(web, tmp_path)
    assert len(web.asked) == 3


def test_fetch_replaces_a_damaged_file(web: Web, tmp_path: Path) -> None:
    for damaged in (b"", b"\x1f\x8bnot gzip", gzip.compress(b"other bytes")):
        (tmp_path / NAMES[3]).write_bytes(damaged)
        paths = fetched(web, tmp_path)
        assert gzip.decompress(paths[3].read_bytes()) == CONTENTS["t10k-labels"]


@pytest.mark.parametrize(
    "answer",
    [
        URLError("no route to host"),
        TimeoutError(),
        http.client.IncompleteRead(b""),
        b"<html>captive portal</html>",
        gzip.compress(b"other bytes"),
        gzip.compress(CONTENTS["t10k-labels"])[:-3],
        b"x" * 1000,
        b"x" * 1_000_000,
    ],
    ids=["offline", "silent", "broken off", "not gzip", "other bytes", "cut off", "too long", "much too long"],
)
def test_fetch_goes_on_to_the_next_mirror(web: Web, tmp_path: Path, answer: bytes | Exception) -> None:
    web.answers[f"a/{NAMES[3]}"] = answer
    paths = fetched(web, tmp_path)
    assert gzip.decompress(paths[3].read_bytes()) == CONTENTS["t10k-labels"]
    assert web.asked[-2:] == [f"a/{NAMES[3]}", f"b/{NAMES[3]}"]
    assert len(list(tmp_path.iterdir())) == 4


def test_fetch_without_a_network_says_what_to_do_by_hand(web: Web, tmp_path: Path) -> None:
    web.answers = dict.fromkeys(web.answers, URLError("no network"))
    with pytest.raises(ConfigError) as caught:
        fetched(web, tmp_path)
    message = str(caught.value)
    assert all(name in message for name in NAMES)
    assert str(tmp_path) in message
    assert "marfl-peer data fetch mnist" in message
    assert "a/: <urlopen error no network>; b/: " in message
    assert list(tmp_path.iterdir()) == []


def test_fetch_that_is_interrupted_leaves_no_part_behind(web: Web, tmp_path: Path) -> None:
    def interrupt(name: str, received: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetched(web, tmp_path, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_fetch_tells_its_progress(web: Web, tmp_path: Path) -> None:
    seen: dict[str, int] = {}
    fetched(web, tmp_path, lambda name, received: seen.update({name: received}))
    assert seen == {path.name: path.stat().st_size for path in tmp_path.iterdir()}


def test_fetch_into_a_folder_that_cannot_be_made_raises(web: Web, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be written"):
        fetched(web, tmp_path / "file/folder")


def test_fetch_of_an_unknown_dataset_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose one of mnist"):
        fetch("imagenet", tmp_path, open_url=Web().open)


def test_archive_is_kept_packed_and_checked_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web, content = Web(), gzip.compress(b"texts" * 1000)
    archive = Archive(filename="n.tar.gz", size_bytes=len(content) + 1000, sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(download, "ITEMS", {"news": (archive,)})
    web.answers = {"a/n.tar.gz": content + b"more", "b/n.tar.gz": content}
    for _ in range(2):
        (path,) = fetch("news", tmp_path, mirrors=("a/", "b/"), open_url=web.open)
        assert (path, path.read_bytes()) == (tmp_path / "n.tar.gz", content)
        assert web.asked == ["a/n.tar.gz", "b/n.tar.gz"]


def test_every_dataset_has_mirrors() -> None:
    assert set(ITEMS) == set(MIRRORS)


def test_open_https_gives_what_a_url_names(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    with open_https((tmp_path / "file").as_uri()) as response:
        assert response.read(3) + response.read(3) == b"bytes"
    with pytest.raises(OSError, match="No such file"):
        open_https((tmp_path / "absent").as_uri())


def test_mnist_items_are_the_four_files_behind_https_mirrors() -> None:
    assert [item.filename for item in ITEMS["mnist"]] == NAMES
    assert [item.size_bytes for item in ITEMS["mnist"]] == [47_040_016, 60_008, 7_840_016, 10_008]
    assert len(MIRRORS["mnist"]) >= 2
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in MIRRORS["mnist"])
