from __future__ import annotations

import errno
import os
import socket

import pytest

from marfl_peer.peer.doctor.findings import Severity
from marfl_peer.peer.doctor.ports import PortSeen, Transport, judge_port, look_at_port

HOST = "127.0.0.1"


def seen(number: int, *, flag: str = "--port", transport: Transport = "tcp", port: int = 7700) -> PortSeen:
    return PortSeen(flag=flag, transport=transport, host=HOST, port=port, errno=number)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_port_that_is_taken_is_seen(transport: Transport) -> None:
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((HOST, 0))
        if transport == "tcp":
            taken.listen(1)
        port = taken.getsockname()[1]
        assert look_at_port("--port", transport, HOST, port).errno == errno.EADDRINUSE
    assert look_at_port("--port", transport, HOST, port).errno == 0


@pytest.mark.parametrize("host", ["203.0.113.7", "::2"])
def test_address_of_another_machine_is_seen(host: str) -> None:
    found = look_at_port("--port", "udp", host, 0)
    assert judge_port(found).severity is Severity.FAILURE
    if ":" not in host:
        assert judge_port(found).code == "host_not_here"


@pytest.mark.parametrize(
    ("one", "code", "remedy"),
    [
        (seen(0), "tcp_port", ""),
        (seen(0, port=0), "tcp_port", ""),
        (seen(errno.EADDRINUSE), "tcp_port_in_use", "`ss -lnp 'sport = :7700'` names it"),
        (seen(errno.EADDRINUSE, transport="udp"), "udp_port_in_use", "choose another --port"),
        (seen(errno.EADDRINUSE, flag="--metrics-port"), "metrics_port_in_use", "choose another --metrics-port"),
        (seen(errno.EACCES, port=80), "tcp_port_forbidden", "--port of 1024 or more"),
        (seen(errno.EADDRNOTAVAIL), "host_not_here", "--host an address of this machine"),
        (seen(errno.ENOBUFS), "tcp_port_unusable", "another --host or --port"),
    ],
)
def test_port_is_judged_with_its_remedy(one: PortSeen, code: str, remedy: str) -> None:
    finding = judge_port(one)
    assert finding.code == code
    assert remedy in finding.remedy
    assert (finding.severity is Severity.OK) == (one.errno == 0)
    assert one.errno == 0 or os.strerror(one.errno) or finding.seen
