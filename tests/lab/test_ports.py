import random
import socket
from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.lab import ports
from marfl_peer.lab.ports import ephemeral_start, free_ports, is_free, ports_from

HOST = "127.0.0.1"


def test_ports_are_distinct_and_below_those_of_outgoing_connections() -> None:
    found = free_ports(40, host=HOST, rng=random.Random(1))
    assert len(set(found)) == 40
    assert all(ports.LOWEST_PORT <= port < ephemeral_start() for port in found)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_port_in_use_is_not_free(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((HOST, *free_ports(1, host=HOST, rng=random.SystemRandom())))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(HOST, port)
    assert is_free(HOST, port)


def test_more_ports_than_there_are_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ephemeral_start", lambda: ports.LOWEST_PORT + 3)
    with pytest.raises(ConfigError, match="start fewer"):
        free_ports(4, host=HOST, rng=random.Random(1))


def test_ports_from_one_on_are_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda host, port: host == HOST)
    assert ports_from(7700, 3, host=HOST) == [7700, 7701, 7702]
    assert ports_from(65_533, 3, host=HOST)[-1] == 65_535
    with pytest.raises(ConfigError, match="65534: there are no 3 ports from it on: choose 65533 at most"):
        ports_from(65_534, 3, host=HOST)


def test_port_in_use_among_those_asked_for_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}, one of 2 from it on, is in use on {HOST}"):
            ports_from(port, 2, host=HOST)


def test_ephemeral_start_has_a_default_where_the_system_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ports, "EPHEMERAL_RANGE", tmp_path / "missing")
    assert ephemeral_start() == ports.USUAL_EPHEMERAL_START
