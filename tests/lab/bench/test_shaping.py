from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.lab.bench import shaping
from marfl_peer.lab.bench.namespace import FOLDER
from marfl_peer.lab.bench.shaping import Land, Rates, bucket, why_not, written


def said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def own_namespaces() -> list[str]:
    return [path.name for path in FOLDER.glob(f"marfl-bench-{os.getpid()}-*")]


def test_every_member_has_a_shaped_link_to_all_others_and_nothing_is_left(needs_namespaces: None) -> None:
    with Land(3, Rates(10**9, 1, 10**8)) as land:
        first, _, last = land.namespaces
        assert land.addresses == ["10.78.0.1", "10.78.0.2", "10.78.0.3"]
        assert len(own_namespaces()) == 4
        assert "rate 1Gbit" in said("tc", "-n", first, "qdisc", "show", "dev", shaping.INTERFACE)
        assert "rate 100Mbit" in said("tc", "-n", last, "qdisc", "show", "dev", shaping.INTERFACE)
        assert "rate 100Mbit" in said("tc", "-n", land._hub, "qdisc", "show", "dev", "port2")
        joined = said("ip", "-n", land._hub, "link", "show", "master", shaping.BRIDGE)
        assert all(f"port{member}@" in joined for member in range(3))
    assert own_namespaces() == []


def test_land_that_fails_in_the_middle_leaves_nothing(needs_namespaces: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shaping, "INTERFACE", "a name that is too long for the kernel")
    with pytest.raises(ConfigError, match="needs CAP_SYS_ADMIN, CAP_NET_ADMIN, and veth, bridge and tbf"):
        Land(2, Rates(10**9)).__enter__()
    assert own_namespaces() == []


def test_failure_inside_leaves_nothing(needs_namespaces: None) -> None:
    with pytest.raises(KeyboardInterrupt), Land(2, Rates(10**9)):
        raise KeyboardInterrupt
    assert own_namespaces() == []


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="need root: run it as root, or without --link-rate") as error:
        Land(2, Rates(10**8)).__enter__()
    assert (error.value.what, error.value.value) == ("--link-rate", "100mbit")


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
