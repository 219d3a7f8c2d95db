"""All checks in one go: what is slow runs side by side, and nothing that one of them finds ends another."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from marfl_peer.averaging import kernels
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.peer.addresses import ANY, listening_address
from marfl_peer.peer.doctor.addresses import judge_address, look_at_address
from marfl_peer.peer.doctor.bootstrap import BootstrapSeen, judge_bootstrap, look_at_bootstrap
from marfl_peer.peer.doctor.clocks import ClockSeen, judge_clock, look_at_ntp
from marfl_peer.peer.doctor.findings import Finding
from marfl_peer.peer.doctor.firewall import judge_firewall, look_at_firewall
from marfl_peer.peer.doctor.folders import judge_data, judge_state, look_at_data, look_at_state
from marfl_peer.peer.doctor.ports import judge_port, look_at_port
from marfl_peer.peer.doctor.resources import judge_resources, look_at_resources
from marfl_peer.peer.doctor.versions import judge_kernels, judge_versions, look_at_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be started: a peer with these settings, `peers` of them on this machine. `stated`: settings that
    somebody gave. `ntp`: a time server to ask, if any."""

    settings: Settings
    stated: Collection[str] = ()
    peers: int = 1
    ntp: str | None = None
    timeout_s: float = 5.0


async def examine(plan: Plan, *, clock: Clock) -> list[Finding]:
    """Findings in the order of the documentation. Traffic goes to the bootstrap peers and the time server only."""
    asked = asyncio.gather(*(_contact(plan, one, clock) for one in plan.settings.bootstrap))
    timed = asyncio.gather(*(look_at_ntp(one, timeout_s=plan.timeout_s, clock=clock) for one in _servers(plan)))
    contacts_seen, times_seen = await asyncio.gather(asked, timed)
    # What is needed here follows from the run that is to be joined.
    settings = next((one.adopted for one in contacts_seen if one.adopted is not None), plan.settings)
    address_seen, firewall_seen, state_seen, data_seen = await asyncio.gather(
        asyncio.to_thread(look_at_address, settings),
        asyncio.to_thread(look_at_firewall, settings.port),
        asyncio.to_thread(look_at_state, settings, peers=plan.peers),
        asyncio.to_thread(look_at_data, settings),
    )
    swarm = max([plan.peers, *(one.status.peers_known or 0 for one in contacts_seen if one.status is not None)])
    resources = look_at_resources(
        peers=plan.peers, swarm=max(swarm, settings.wait_for), task=settings.task, threads=settings.threads
    )
    clocks = [*_peer_clocks(contacts_seen), *times_seen]
    return [
        *_judge_ports(settings),
        *judge_address(address_seen),
        *([] if settings.dial_only else [judge_firewall(firewall_seen)]),
        *(finding for one in contacts_seen for finding in judge_bootstrap(one)),
        *(judge_clock(one) for one in clocks),
        *judge_versions(look_at_versions()),
        judge_kernels(kernels.native is not None),
        *judge_resources(resources),
        *judge_state(state_seen),
        judge_data(data_seen),
    ]


def _judge_ports(settings: Settings) -> list[Finding]:
    host = listening_address(settings)
    udp_host = ANY if settings.dial_only else host
    ports = [look_at_port("--port", "tcp", host, settings.port), look_at_port("--port", "udp", udp_host, settings.port)]
    if settings.metrics_port is not None:
        metrics_host = ANY if settings.host == "auto" else settings.host
        ports.append(look_at_port("--metrics-port", "tcp", metrics_host, settings.metrics_port))
    return list(dict.fromkeys(judge_port(one) for one in ports))


async def _contact(plan: Plan, address: str, clock: Clock) -> BootstrapSeen:
    return await look_at_bootstrap(address, plan.settings, plan.stated, timeout_s=plan.timeout_s, clock=clock)


def _servers(plan: Plan) -> list[str]:
    return [plan.ntp] if plan.ntp else []


def _peer_clocks(contacts: list[BootstrapSeen]) -> list[ClockSeen]:
    """Peers of an older release do not tell the time."""
    return [
        ClockSeen(source=one.address, ahead_s=one.clock_ahead_s) for one in contacts if one.clock_ahead_s is not None
    ]
