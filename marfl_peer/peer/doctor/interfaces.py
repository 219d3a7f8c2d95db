"""The machine's network interfaces: addresses, MTU, and whether other machines are behind them (/sys, ioctl)."""

from __future__ import annotations

import fcntl
import ipaddress
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

NET = Path("/sys/class/net")
SIOCGIFADDR = 0x8915
IFF_UP, IFF_MULTICAST = 0x1, 0x1000
_INNER = re.compile(r"(docker|br-|virbr|veth|cni|flannel|cali|lxc|lxd|podman)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """`addresses`: as text. `is_up`: up and with a carrier, as far as the system knows."""

    name: str
    addresses: tuple[str, ...]
    mtu: int
    is_up: bool = True
    has_multicast: bool = True

    @property
    def is_loopback(self) -> bool:
        return self.name == "lo"

    @property
    def is_inner(self) -> bool:
        """Whether it leads to containers or virtual machines of this host, and not to other hosts."""
        return _INNER.match(self.name) is not None


def look_at_interfaces(net: Path = NET) -> tuple[Interface, ...]:
    """By name; none where the system does not tell."""
    found = []
    for index_name in sorted(socket.if_nameindex(), key=lambda pair: pair[1]):
        name = index_name[1]
        flags = int(_read(net / name / "flags", "0x1"), 16)
        state = _read(net / name / "operstate", "unknown")
        found.append(
            Interface(
                name=name,
                addresses=(*_address(name), *_addresses_6(name)),
                mtu=int(_read(net / name / "mtu", "0")),
                is_up=bool(flags & IFF_UP) and state in ("up", "unknown"),
                has_multicast=bool(flags & IFF_MULTICAST),
            )
        )
    return tuple(found)


def interface_of(address: str, interfaces: tuple[Interface, ...]) -> Interface | None:
    """The one that has the address; loopback has all of 127/8."""
    for interface in interfaces:
        if address in interface.addresses or (interface.is_loopback and address.startswith("127.")):
            return interface
    return None


def outer_addresses(interfaces: tuple[Interface, ...]) -> list[str]:
    """Those that other machines may reach, IPv4 first."""
    outer = [one for one in interfaces if one.is_up and not one.is_inner and not one.is_loopback]
    found = [address for one in outer for address in one.addresses]
    found = [address for address in found if not ipaddress.ip_address(address).is_link_local]
    return sorted(found, key=lambda address: ":" in address)


def _read(path: Path, otherwise: str) -> str:
    try:
        return path.read_text().strip() or otherwise
    except OSError:
        return otherwise


def _address(name: str) -> tuple[str, ...]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        except OSError:
            return ()
    return (socket.inet_ntoa(answer[20:24]),)


def _addresses_6(name: str, table: Path = Path("/proc/net/if_inet6")) -> tuple[str, ...]:
    lines = [line.split() for line in _read(table, "").splitlines()]
    return tuple(
        str(ipaddress.IPv6Address(bytes.fromhex(line[0]))) for line in lines if len(line) == 6 and line[5] == name
    )
