from __future__ import annotations

import socket
import tempfile
import threading
from pathlib import Path

import pytest

from marfl_peer.config import Settings
from marfl_peer.lab.bench import child
from marfl_peer.lab.bench.words import Go, Order, PeerRole, encode
from marfl_peer.lab.jobs import Job, Start


def lived(order: Order | None) -> int:
    """The exit code of a child that hears that and then nothing more."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        path = str(Path(folder) / "line")
        server.bind(path)
        server.listen()

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                if order is not None:
                    connection.sendall(encode(order))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass

        thread = threading.Thread(target=talk)
        thread.start()
        run = child.prepare(Job(entry="", settings=Settings(), facts_path=path))
        code = run(Start(index=0, settings=Settings()))
        thread.join()
        return code


def test_child_that_is_told_nothing_ends() -> None:
    assert lived(None) == 0


def test_order_before_a_role_is_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert lived(Go()) == 70
    assert capsys.readouterr().err == "Go before a role\n"


def test_role_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[object] = []
    monkeypatch.setattr(child, "be_peer", lambda role, settings, line: played.append(role))
    assert lived(PeerRole(rank=0, ranks=1, floats=2, base="b")) == 0
    assert played == [PeerRole(rank=0, ranks=1, floats=2, base="b")]
