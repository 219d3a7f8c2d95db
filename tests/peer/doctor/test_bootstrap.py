from __future__ import annotations

import asyncio
import dataclasses
import socket

import pytest
from asked_peers import HOST, asked_peer

from marfl_peer import __version__
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.observe.status import Status
from marfl_peer.peer.doctor.bootstrap import BootstrapSeen, judge_bootstrap, look_at_bootstrap
from marfl_peer.peer.doctor.findings import Severity

GOOD = BootstrapSeen(
    address="seed:7700", resolved="10.0.0.1", status=Status(run_id="default", version=__version__), has_udp=True
)
UNKNOWN = "a" * 64 + ":7700"
"""No name has a part that is longer than 63: nobody is asked for it."""


async def look(address: str, settings: Settings | None = None, *stated: str, timeout_s: float = 20.0) -> BootstrapSeen:
    return await look_at_bootstrap(address, settings or Settings(), stated, timeout_s=timeout_s, clock=Clock())


def test_peer_that_is_well_is_seen_and_does_not_remember_who_asked(on_loop) -> None:
    async def main() -> None:
        async with asked_peer(settings=Settings(task="mnist")) as (port, pinged):
            seen = await look(f"{HOST}:{port}")
        assert {one.severity for one in judge_bootstrap(seen)} == {Severity.OK}
        assert seen.adopted is not None
        assert seen.adopted.task == "mnist"
        assert seen.clock_ahead_s is not None
        assert seen.clock_ahead_s < 60
        assert seen.status is not None
        assert pinged is not None
        assert {sender.hex() for sender in pinged.senders} == {seen.status.peer_id}

    on_loop(main())


@pytest.mark.parametrize("udp", ["closed", "mute"])
def test_peer_whose_datagrams_are_lost_is_found(on_loop, udp: str) -> None:
    async def main() -> None:
        async with asked_peer(udp=udp) as (port, _):
            seen = await look(f"{HOST}:{port}", timeout_s=1.0 if udp == "mute" else 20.0)
        found = {one.code: one for one in judge_bootstrap(seen)}
        assert found["bootstrap_tcp"].severity is Severity.OK
        assert found["bootstrap_udp"].severity is Severity.FAILURE
        assert f"let UDP port {port} through" in found["bootstrap_udp"].remedy

    on_loop(main())


def test_port_at_which_nobody_listens_is_refused(on_loop) -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    (finding,) = judge_bootstrap(on_loop(look(f"{HOST}:{port}")))
    assert (finding.code, finding.severity) == ("bootstrap_refused", Severity.FAILURE)
    assert "start the peer there" in finding.remedy


def test_port_that_swallows_everything_is_silent(on_loop) -> None:
    with socket.create_server((HOST, 0)) as silent:
        port = silent.getsockname()[1]
        (finding,) = judge_bootstrap(on_loop(look(f"{HOST}:{port}", timeout_s=0.05)))
    assert finding.code == "bootstrap_silent"
    assert f"let TCP port {port} through" in finding.remedy


def test_another_program_at_the_port_is_no_peer(on_loop) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, HOST, 0)
        (finding,) = judge_bootstrap(await look(f"{HOST}:{server.sockets[0].getsockname()[1]}"))
        assert finding.code == "bootstrap_no_peer"
        assert "another program is at port" in finding.remedy
        server.close()
        await server.wait_closed()

    on_loop(main())


def test_run_with_other_settings_is_found(on_loop) -> None:
    async def main() -> None:
        async with asked_peer(settings=Settings(group_size=8)) as (port, _):
            seen = await look(f"{HOST}:{port}", Settings(group_size=4), "group_size")
            assert seen.adopted is None
            fine = await look(f"{HOST}:{port}", Settings(group_size=4))
        finding = judge_bootstrap(seen)[0]
        assert (finding.code, finding.severity) == ("bootstrap_other_settings", Severity.FAILURE)
        assert "group-size: 4" in finding.seen
        assert "has 8: leave the setting out" in finding.seen
        assert fine.adopted is not None

    on_loop(main())


def test_name_that_nobody_knows_is_found(on_loop) -> None:
    (finding,) = judge_bootstrap(on_loop(look(UNKNOWN)))
    assert finding.code == "bootstrap_unknown"
    assert "spelling" in finding.remedy


@pytest.mark.parametrize(
    ("changes", "code", "remedy"),
    [
        ({"status": None, "code": "other_version", "detail": "5 meets 6"}, "bootstrap_version", "the same release"),
        (
            {"status": None, "code": "no_answer", "detail": "No route to host"},
            "bootstrap_unreachable",
            "check the network, the routes",
        ),
        ({"status": Status(version="0.0.1")}, "bootstrap_release", "the same release everywhere"),
    ],
)
def test_planted_problem_is_named_with_its_remedy(changes: dict[str, object], code: str, remedy: str) -> None:
    found = [one for one in judge_bootstrap(dataclasses.replace(GOOD, **changes)) if one.severity is not Severity.OK]
    assert [one.code for one in found] == [code]
    assert remedy in found[0].remedy
