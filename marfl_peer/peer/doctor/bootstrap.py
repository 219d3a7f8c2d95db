"""The bootstrap peers: whether their names are known, TCP and UDP get through, and their run is one to join.

Nobody else is asked. The DHT's ping bears the asked node's own id, so that no node remembers who asked.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Collection
from dataclasses import dataclass

from marfl_peer import __version__
from marfl_peer.clock import Clock
from marfl_peer.config import Settings, parse_address
from marfl_peer.errors import ConfigError, MarflError
from marfl_peer.network.dht import wire
from marfl_peer.observe.status import Status, read_status
from marfl_peer.peer.adoption import adopt, read_run
from marfl_peer.peer.doctor.findings import Finding, fail, ok, warn
from marfl_peer.peer.inquiry import NoAnswer, ask_run, ask_status

SENDINGS = 3
"""Of a ping: a datagram may be lost."""
NO_TIME = "no answer in time"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSeen:
    """`resolved`: the numeric address, None for a name that nobody knows. `code`: why there is no status, if there
    is none; `detail` in words. `contradiction`: what of the own settings the run does not have; `adopted`: the settings
    with those of the run, None where it is not to be joined. `has_udp`: whether the DHT's ping was answered.
    `clock_ahead_s`: how much later it is there, as far as the way there and back lets one tell."""

    address: str
    resolved: str | None
    code: str = ""
    detail: str = ""
    status: Status | None = None
    contradiction: str = ""
    adopted: Settings | None = None
    has_udp: bool | None = None
    clock_ahead_s: float | None = None


async def look_at_bootstrap(
    address: str, settings: Settings, stated: Collection[str], *, timeout_s: float, clock: Clock
) -> BootstrapSeen:
    """Asks one peer for its status and its run over TCP, and for a sign of life over UDP."""
    host, port = parse_address(address)
    resolved = await _resolve(host, port, timeout_s)
    if resolved is None:
        return BootstrapSeen(address=address, resolved=None)
    sent = clock.wall()
    try:
        status = read_status(await ask_status(resolved, port, timeout_s))
        received = clock.wall()
        body = read_run(await ask_run(resolved, port, timeout_s))
    except NoAnswer as error:
        return BootstrapSeen(address=address, resolved=resolved, code=error.code, detail=error.reason)
    except MarflError as error:
        return BootstrapSeen(address=address, resolved=resolved, code=error.code, detail=str(error))
    contradiction, adopted = "", None
    try:
        adopted = adopt(settings, stated, body, source=address)
    except ConfigError as error:
        contradiction = str(error)
    return BootstrapSeen(
        address=address,
        resolved=resolved,
        status=status,
        contradiction=contradiction,
        adopted=adopted,
        has_udp=await ping(resolved, port, status.peer_id or "", timeout_s),
        clock_ahead_s=None if status.time is None else status.time - (sent + received) / 2,
    )


def judge_bootstrap(seen: BootstrapSeen) -> list[Finding]:
    if seen.resolved is None:
        remedy = "check the spelling and the name server, or give a numeric address"
        return [fail("bootstrap_unknown", f"{seen.address}: there is no such name", remedy)]
    if seen.status is None:
        return [_judge_silence(seen)]
    findings = [ok("bootstrap_tcp", f"{seen.address} answers over TCP: run {seen.status.run_id}")]
    if seen.contradiction:
        findings = [fail("bootstrap_other_settings", f"{seen.address}: {seen.contradiction}", "as it says")]
    if seen.has_udp:
        findings.append(ok("bootstrap_udp", f"{seen.address} answers over UDP"))
    else:
        port = seen.address.rpartition(":")[2]
        remedy = f"let UDP port {port} through, in and out, in every firewall between: the DHT needs it"
        findings.append(fail("bootstrap_udp", f"{seen.address} answers over TCP, but not over UDP", remedy))
    if seen.status.version != __version__:
        text = f"{seen.address} runs release {seen.status.version}, this is {__version__}"
        findings.append(warn("bootstrap_release", text, "install the same release everywhere"))
    return findings


def _judge_silence(seen: BootstrapSeen) -> Finding:
    where = f"{seen.address}: {seen.detail}"
    port = seen.address.rpartition(":")[2]
    if seen.code == "other_version":
        return fail("bootstrap_version", where, "install the same release of marfl-peer here and there")
    if seen.code != NoAnswer.code:
        remedy = f"another program is at port {port}, or a peer of another kind: check HOST:PORT of --bootstrap"
        return fail("bootstrap_no_peer", where, remedy)
    if seen.detail == NO_TIME or "timed out" in seen.detail:
        remedy = f"check the address, and let TCP port {port} through in every firewall between"
        return fail("bootstrap_silent", where, remedy)
    if "refused" in seen.detail:
        remedy = "start the peer there, or check its --port; if it runs, it listens on another --host"
        return fail("bootstrap_refused", where, remedy)
    return fail("bootstrap_unreachable", where, "check the network, the routes and the address of --bootstrap")


async def ping(host: str, port: int, peer_id: str, timeout_s: float) -> bool:
    """Whether the DHT node there answers."""
    sender = bytes.fromhex(peer_id) if len(peer_id) == 40 else os.urandom(20)
    datagram = wire.encode_call(os.urandom(wire.MESSAGE_ID_BYTES), wire.Ping(sender))
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        for _ in range(SENDINGS):
            try:
                probe.connect((host, port))
                probe.send(datagram)
                async with asyncio.timeout(timeout_s / SENDINGS):
                    return (await loop.sock_recv(probe, wire.MAX_DATAGRAM_BYTES)).startswith(wire.ANSWER)
            except TimeoutError:
                continue
            except OSError:  # told at once that nobody is there
                return False
    return False


async def _resolve(host: str, port: int, timeout_s: float) -> str | None:
    try:
        async with asyncio.timeout(timeout_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return None
    return str(found[0][4][0]) if found else None
