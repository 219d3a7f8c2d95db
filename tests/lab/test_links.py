from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from marfl_peer.errors import MarflError
from marfl_peer.lab import links
from marfl_peer.lab.bench.namespace import FOLDER
from marfl_peer.lab.links import Land, Rates, bucket, why_not, written

PATIENCE_S = 60.0


def said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def namespaces_of(pid: int) -> list[str]:
    return [path.name for path in FOLDER.glob(f"{links.PREFIX}-{pid}-*")]


def own_namespaces() -> list[str]:
    return namespaces_of(os.getpid())


def test_every_member_has_a_shaped_link_to_all_others_and_nothing_is_left(needs_namespaces: None) -> None:
    with Land(3, Rates(10**9, 1, 10**8)) as land:
        first, _, last = land.namespaces
        assert land.addresses == ["10.78.0.1", "10.78.0.2", "10.78.0.3"]
        assert len(own_namespaces()) == 4
        assert "rate 1Gbit" in said("tc", "-n", first, "qdisc", "show", "dev", links.INTERFACE)
        assert "rate 100Mbit" in said("tc", "-n", last, "qdisc", "show", "dev", links.INTERFACE)
        assert "rate 100Mbit" in said("tc", "-n", land._hub, "qdisc", "show", "dev", "port2")
        joined = said("ip", "-n", land._hub, "link", "show", "master", links.BRIDGE)
        assert all(f"port{member}@" in joined for member in range(3))
    assert own_namespaces() == []


def reaches(land: Land, *, within_s: float) -> bool:
    """Whether a datagram gets from the first member to the second, by the word of who waits for it."""
    there = (land.addresses[1], 7)
    receive = f"import socket; s = socket.socket(2, 2); s.bind({there}); s.settimeout({within_s}); print(s.recv(9))"
    send = f"import socket; socket.socket(2, 2).sendto(b'word', {there})"
    waiting = subprocess.Popen(
        land.inside(1, sys.executable, "-c", receive), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    while waiting.poll() is None:
        subprocess.run(land.inside(0, sys.executable, "-c", send), check=False, stderr=subprocess.DEVNULL)
    return waiting.communicate()[0] == b"b'word'\n"


def test_link_without_a_rate_is_cut_and_healed(needs_namespaces: None) -> None:
    with Land(2) as land:
        assert "tbf" not in said("tc", "-n", land.namespaces[0], "qdisc", "show", "dev", links.INTERFACE)
        assert reaches(land, within_s=PATIENCE_S)
        land.cut(0)
        assert not reaches(land, within_s=0.5)
        land.heal(0)
        assert reaches(land, within_s=PATIENCE_S)


def test_namespaces_that_were_left_are_in_nobodys_way(needs_namespaces: None) -> None:
    """Numbers of processes are given again: here both have the same."""
    with Land(1) as left, Land(1) as next_one:
        assert not {*left.namespaces, left._hub} & {*next_one.namespaces, next_one._hub}
    assert own_namespaces() == []


def test_land_that_fails_in_the_middle_leaves_nothing(needs_namespaces: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "INTERFACE", "a name that is too long for the kernel")
    with pytest.raises(MarflError, match="need CAP_SYS_ADMIN, CAP_NET_ADMIN, and veth, bridge and tbf"):
        Land(2, Rates(10**9)).__enter__()
    assert own_namespaces() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_process_that_ends_leaves_nothing(needs_namespaces: None, number: int) -> None:
    """Whatever ends it, and as often as Ctrl+C is pressed meanwhile: the signal is for all in the terminal."""
    lines = (
        "from marfl_peer.lab.links import Land",
        "with Land(3):",
        "    print('built', flush=True)",
        "    input()",
    )
    pipe = subprocess.PIPE
    with subprocess.Popen(
        (sys.executable, "-c", "\n".join(lines)), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"built\n"
        assert len(namespaces_of(process.pid)) == 4
        while process.poll() is None:
            os.killpg(process.pid, number)
    until = time.monotonic() + PATIENCE_S
    while namespaces_of(process.pid):
        assert time.monotonic() < until


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MarflError, match="need root: run it as root"):
        Land(2, Rates(10**8)).__enter__()


def test_programs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_not() == "ip and tc not found: install iproute2"


def test_last_members_are_slow() -> None:
    rates = Rates(10**9, 2, 10**8)
    assert [rates.of(member, 4) for member in range(4)] == [10**9, 10**9, 10**8, 10**8]


@pytest.mark.parametrize(
    ("rate", "text", "burst"),
    [
        (10**9, "1gbit", 250_000),
        (10**8, "100mbit", 32_768),
        (1_500_000, "1500kbit", 32_768),
        (10**6 + 1, "1000001bit", 32_768),
    ],
)
def test_rate_is_written_as_it_is_read(rate: int, text: str, burst: int) -> None:
    assert written(rate) == text
    assert bucket(rate) == ("tbf", "rate", f"{rate}bit", "burst", str(burst), "latency", "50ms")
