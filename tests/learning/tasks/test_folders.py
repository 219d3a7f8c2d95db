from __future__ import annotations

from pathlib import Path

import pytest

from marfl_peer.learning.tasks.folders import data_folder, folder_to_read


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/home/ada"}, "/home/ada/.cache/marfl-peer/mnist"),
        ({"HOME": "/home/ada", "XDG_CACHE_HOME": "/var/cache"}, "/var/cache/marfl-peer/mnist"),
        ({"HOME": "/home/ada", "XDG_CACHE_HOME": ""}, "/home/ada/.cache/marfl-peer/mnist"),
        ({"HOME": "/home/ada", "XDG_CACHE_HOME": "relative"}, "/home/ada/.cache/marfl-peer/mnist"),
    ],
)
def test_data_folder_follows_the_environment(environ: dict[str, str], folder: str) -> None:
    assert data_folder("mnist", environ) == Path(folder)


def test_data_folder_without_home_is_below_the_users() -> None:
    assert data_folder("mnist", {}) == Path.home() / ".cache/marfl-peer/mnist"


def test_folder_to_read_is_the_named_one_its_subfolder_or_where_downloads_go(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": "/var/cache"}
    assert folder_to_read("mnist", None, environ) == Path("/var/cache/marfl-peer/mnist")
    assert folder_to_read("mnist", tmp_path, environ) == tmp_path
    (tmp_path / "mnist").mkdir()
    assert folder_to_read("mnist", tmp_path, environ) == tmp_path / "mnist"
