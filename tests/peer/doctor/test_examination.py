"""Problems that are really there: each is found, with its remedy, beside everything else that is looked at."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from asked_peers import HOST, asked_peer

from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.network.identity import KEY_FILE, Identity
from marfl_peer.peer.doctor.examination import Plan, examine
from marfl_peer.peer.doctor.findings import Severity


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(host=HOST, port=0, state_dir=tmp_path / "state")


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, object]]:
    """Ports that are taken and folders that are not what they should be."""
    (tmp_path / "file").write_text("")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "state.json").write_text("{")
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / KEY_FILE).write_text("no key")
    (tmp_path / "garbage" / KEY_FILE).chmod(0o600)
    with (
        socket.create_server((HOST, 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        Identity.load_or_create(tmp_path / "locked"),
    ):
        udp.bind((HOST, 0))
        with socket.create_server((HOST, 0)) as closed:
            free = closed.getsockname()[1]
        yield {"folder": tmp_path, "tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "free": free}


PLANTED = {
    "TCP port in use": ({"port": "tcp"}, "tcp_port_in_use", "stop what uses it"),
    "UDP port in use": ({"port": "udp"}, "udp_port_in_use", "stop what uses it"),
    "metrics port in use": ({"metrics_port": "tcp"}, "metrics_port_in_use", "choose another --metrics-port"),
    "host of another machine": ({"host": "203.0.113.7"}, "host_not_here", "--host an address of this machine"),
    "bootstrap port closed": ({"bootstrap": "free"}, "bootstrap_refused", "start the peer there"),
    "bootstrap port silent": ({"bootstrap": "tcp"}, "bootstrap_silent", "firewall between"),
    "bootstrap name unknown": ({"bootstrap": ("a" * 64 + ":1",)}, "bootstrap_unknown", "check the spelling"),
    "state folder is a file": ({"state_dir": "file"}, "state_unwritable", "--state-dir a folder"),
    "state folder in use": ({"state_dir": "locked"}, "state_locked", "stop the peer that runs there"),
    "state damaged": ({"state_dir": "damaged"}, "state_damaged", "state.json"),
    "identity damaged": ({"state_dir": "garbage"}, "identity_damaged", "delete identity.pem"),
    "data missing": ({"task": "mnist", "data_dir": "damaged"}, "data_unusable", "`marfl-peer data fetch mnist`"),
    "task unknown": ({"task": "chess"}, "data_unusable", "--task"),
    "threads": ({"threads": 1024}, "threads_many", "--threads"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_problem_is_found_with_its_remedy(
    on_loop, settings: Settings, places: dict[str, object], name: str
) -> None:
    wanted, code, remedy = PLANTED[name]
    changes: dict[str, object] = {}
    for key, value in wanted.items():
        if key == "bootstrap" and isinstance(value, str):
            changes[key] = (f"{HOST}:{places[value]}",)
        elif key in ("state_dir", "data_dir"):
            changes[key] = Path(str(places["folder"])) / str(value)
        else:
            changes[key] = places[value] if isinstance(value, str) and value in places else value
    plan = Plan(settings=settings.adopt(changes), timeout_s=0.3 if name == "bootstrap port silent" else 20.0)
    found = {one.code: one for one in on_loop(examine(plan, clock=Clock())) if one.severity is not Severity.OK}
    assert code in found, found
    assert remedy in found[code].remedy


def test_healthy_machine_has_nothing_but_that_only_it_is_reached(on_loop, settings: Settings) -> None:
    found = on_loop(examine(Plan(settings=settings), clock=Clock()))
    assert {one.code for one in found if one.severity is not Severity.OK} <= {"address_loopback", "disk_scarce"}
    assert {"tcp_port", "udp_port", "versions", "memory", "processors", "open_files", "state", "data"} <= {
        one.code for one in found
    }


def test_more_peers_than_there_is_memory_for_are_found(on_loop, settings: Settings) -> None:
    found = {one.code: one for one in on_loop(examine(Plan(settings=settings, peers=10**6), clock=Clock()))}
    assert found["memory_short"].severity is Severity.FAILURE
    assert "plan for" in found["memory_short"].remedy


def test_too_few_open_files_are_found(on_loop, settings: Settings) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    try:
        found = {one.code: one for one in on_loop(examine(Plan(settings=settings, peers=100), clock=Clock()))}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert "ulimit -n 1024" in found["open_files_few"].remedy


def test_peer_whose_clock_is_elsewhere_and_whose_datagrams_are_lost_is_found(on_loop, settings: Settings) -> None:
    async def main() -> None:
        async with asked_peer(udp="closed", ahead_s=1000.0) as (port, _):
            plan = Plan(settings=settings.adopt({"bootstrap": (f"{HOST}:{port}",)}), timeout_s=20.0)
            found = {one.code: one for one in await examine(plan, clock=Clock())}
        assert "timedatectl" in found["clock_stale"].remedy
        assert "let UDP port" in found["bootstrap_udp"].remedy
        assert found["address"].severity is Severity.OK

    on_loop(main())


def test_what_is_needed_is_what_the_run_needs(on_loop, settings: Settings, tmp_path: Path) -> None:
    async def main() -> None:
        async with asked_peer(settings=Settings(task="mnist")) as (port, _):
            changes = {"bootstrap": (f"{HOST}:{port}",), "data_dir": tmp_path}
            found = await examine(Plan(settings=settings.adopt(changes), timeout_s=20.0), clock=Clock())
        assert "data fetch mnist" in next(one.remedy for one in found if one.code == "data_unusable")

    on_loop(main())


def test_firewall_is_no_matter_for_a_peer_that_only_dials(on_loop, tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as closed:
        free = closed.getsockname()[1]
    settings = Settings(dial_only=True, bootstrap=(f"{HOST}:{free}",), port=0, state_dir=tmp_path / "state")
    codes = [finding.code for finding in on_loop(examine(Plan(settings=settings), clock=Clock()))]
    assert "dial_only" in codes
    assert not [code for code in codes if code.startswith(("firewall", "address"))]
