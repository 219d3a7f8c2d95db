"""Entering needs root, and moves the thread for good: it happens in a thread of its own here."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marfl_peer.errors import MarflError
from marfl_peer.lab.bench import namespace
from marfl_peer.lab.bench.namespace import enter_namespace


@pytest.fixture
def made(needs_namespaces: None, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"marfl-test-{request.node.name}"[:60]
    subprocess.run(("ip", "netns", "add", name), check=True)
    yield name
    subprocess.run(("ip", "netns", "delete", name), check=True)


def test_sockets_are_in_the_namespace_that_was_entered(made: str) -> None:
    found: list[list[str]] = []

    def look() -> None:
        enter_namespace(made)
        found.append([name for _, name in socket.if_nameindex()])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [["lo"]]


def test_no_name_is_where_one_is() -> None:
    before = socket.if_nameindex()
    enter_namespace("")
    assert socket.if_nameindex() == before


def test_namespace_that_is_not_there_is_an_error() -> None:
    with pytest.raises(MarflError, match="nowhere could not be entered: No such file"):
        enter_namespace("nowhere")


def test_file_that_is_no_namespace_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace, "FOLDER", tmp_path)
    (tmp_path / "plain").write_bytes(b"")
    with pytest.raises(MarflError, match=r"plain could not be entered: (Invalid argument|Operation not permitted)"):
        enter_namespace("plain")
