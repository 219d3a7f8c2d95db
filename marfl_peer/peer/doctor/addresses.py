"""The address that the peer would announce: whether others reach it there, and how large packets may be on the way."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from marfl_peer.config import Settings, parse_address
from marfl_peer.peer.addresses import announced_address, is_behind_nat, route_to
from marfl_peer.peer.doctor.findings import Finding, fail, ok, warn
from marfl_peer.peer.doctor.interfaces import Interface, interface_of, look_at_interfaces, outer_addresses

MIN_MTU = 1280
"""Below it IPv6 does not work, and the DHT's datagrams of 8 KiB fall into many fragments."""
ETHERNET_MTU = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSeen:
    """`announced`: what others are told. `route`: the own address that the system uses towards the first bootstrap peer
    whose name is known; None without one."""

    host: str
    announced: str
    interfaces: tuple[Interface, ...]
    route: str | None = None
    bootstrap: str | None = None
    is_lan: bool = False
    is_dial_only: bool = False


def look_at_address(settings: Settings) -> AddressSeen:
    """Asks for routes, which sends nothing; names of bootstrap peers are looked up."""
    routes = [(address, route_to(*parse_address(address))) for address in settings.bootstrap]
    known = next(((address, route) for address, route in routes if route is not None), (None, None))
    return AddressSeen(
        host=settings.host,
        announced=_announced(settings),
        interfaces=look_at_interfaces(),
        route=known[1],
        bootstrap=known[0],
        is_lan=settings.lan,
        is_dial_only=settings.dial_only,
    )


def judge_address(seen: AddressSeen) -> list[Finding]:
    if seen.is_dial_only:
        return [_judge_dial_only(seen), *_judge_mtu(seen)]
    return [_judge_announced(seen), *_judge_mtu(seen), *_judge_multicast(seen)]


def _judge_dial_only(seen: AddressSeen) -> Finding:
    text = f"dial-only: announces no address, and opens all connections itself, from {seen.announced}"
    hint = "no port need be open here, so firewall and --host are not looked at; some of the others must listen"
    return ok("dial_only", text, hint)


def _judge_announced(seen: AddressSeen) -> Finding:
    interface = interface_of(seen.announced, seen.interfaces)
    others = [address for address in outer_addresses(seen.interfaces) if address != seen.announced]
    choose = f"--host {seen.route or others[0]}" if seen.route or others else "--host with this machine's address"
    says = f"the peer would announce {seen.announced}"
    if _is_loopback(seen.announced):
        if seen.route is not None and _is_loopback(seen.route):
            return ok("address", f"{says}: the bootstrap peer is on this machine, too")
        if seen.route is not None:
            remedy = f"give {choose}: nobody on another machine reaches a loopback address"
            return fail("address_loopback", f"{says}, but the bootstrap peer {seen.bootstrap} is elsewhere", remedy)
        return warn("address_loopback", f"{says}: only peers on this machine reach it", f"give {choose}")
    if interface is None:
        if seen.host == seen.announced:
            remedy = f"give {choose}, unless the address is forwarded to this machine (NAT), TCP and UDP"
            return warn("address_not_here", f"{says}, which no interface of this machine has", remedy)
        return ok("address", says)
    if interface.is_inner:
        remedy = f"give {choose}: {interface.name} leads to containers or virtual machines of this host only"
        return fail("address_inner", f"{says}, which is that of {interface.name}", remedy)
    if not interface.is_up:
        return fail("address_down", f"{says}, but {interface.name} is down", f"bring {interface.name} up, or {choose}")
    if seen.bootstrap is not None and is_behind_nat(seen.announced, parse_address(seen.bootstrap)[0]):
        text = f"{says}, a private address, but {seen.bootstrap} is outside: nobody there can dial this peer (NAT)"
        remedy = "give --dial-only, or forward TCP and UDP --port at the router and give its address as --host"
        return warn("address_behind_nat", text, remedy)
    if seen.route is not None and seen.route != seen.announced:
        remedy = f"give --host {seen.route}, which the system uses towards {seen.bootstrap}, or check the routes"
        text = f"{says} ({interface.name}), but {seen.bootstrap} is reached from {seen.route}"
        return warn("address_other_interface", text, remedy)
    return ok("address", f"{says} ({interface.name})")


def _judge_mtu(seen: AddressSeen) -> list[Finding]:
    interface = interface_of(seen.announced, seen.interfaces)
    if interface is None or interface.is_loopback or not interface.mtu:
        return []
    name, mtu = interface.name, interface.mtu
    others = [one.mtu for one in seen.interfaces if one.is_up and not one.is_loopback and one is not interface]
    if mtu < MIN_MTU:
        remedy = f"raise it to {MIN_MTU} or more (`ip link set dev {name} mtu 1400`), on both ends of a tunnel"
        return [warn("mtu_small", f"{name} has an MTU of {mtu} bytes", remedy)]
    if mtu > ETHERNET_MTU and ETHERNET_MTU in others:
        remedy = f"have all machines and switches of that network at {mtu}, or `ip link set dev {name} mtu 1500`"
        text = f"{name} has an MTU of {mtu} bytes, other interfaces of this machine {ETHERNET_MTU}"
        return [warn("mtu_large", f"{text}: large packets vanish where a part of the way is smaller", remedy)]
    return [ok("mtu", f"{name} has an MTU of {mtu} bytes")]


def _judge_multicast(seen: AddressSeen) -> list[Finding]:
    interface = interface_of(seen.announced, seen.interfaces)
    if not seen.is_lan or interface is None:
        return []
    if interface.has_multicast:
        return [ok("multicast", f"{interface.name} does multicast, as --lan needs")]
    remedy = "give --bootstrap HOST:PORT in place of --lan"
    return [warn("multicast_off", f"{interface.name} does no multicast, which --lan needs", remedy)]


def _announced(settings: Settings) -> str:
    address = announced_address(settings)
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        pass
    try:
        return socket.gethostbyname(address)
    except OSError:
        return address


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
