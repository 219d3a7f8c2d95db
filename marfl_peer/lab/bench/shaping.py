"""Links of a given rate between processes of one machine: for each member a network namespace with one end of a cable,
the other ends on a bridge in one more namespace, and a token bucket (tc tbf) in front of both ends.

Linux, root and iproute2. Nothing outside of these namespaces is touched, and they are gone at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from marfl_peer.errors import ConfigError

FLAG = "--link-rate"
INTERFACE = "uplink"
"""What a member's end is called in its namespace."""
BRIDGE = "bridge"
NETWORK = "10.78.0"
BURST_S = 0.002
SMALLEST_BURST_BYTES = 32 * 1024
QUEUE_MS = 50
"""How long what is sent may wait in front of a link before it is dropped, as at a router."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Bits a second of every link, in both directions, and of the last `slow_members` links instead."""

    rate: int
    slow_members: int = 0
    slow_rate: int = 0

    def of(self, member: int, members: int) -> int:
        return self.slow_rate if member >= members - self.slow_members else self.rate


class Land:
    """A namespace for each member. Use it as a context manager. Raises: ConfigError where that cannot be had."""

    def __init__(self, members: int, rates: Rates) -> None:
        self._rates = rates
        self._prefix = f"marfl-bench-{os.getpid()}"
        self.namespaces: Sequence[str] = [f"{self._prefix}-{member}" for member in range(members)]

    def __enter__(self) -> Self:
        if reason := why_not():
            raise ConfigError(FLAG, written(self._rates.rate), reason)
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @property
    def addresses(self) -> list[str]:
        """Of the members, in their order."""
        return [f"{NETWORK}.{member + 1}" for member in range(len(self.namespaces))]

    def _build(self) -> None:
        hub = self._hub
        self._run("ip", "netns", "add", hub)
        self._run("ip", "-n", hub, "link", "add", BRIDGE, "type", "bridge")
        self._run("ip", "-n", hub, "link", "set", BRIDGE, "up")
        for member, (name, address) in enumerate(zip(self.namespaces, self.addresses, strict=True)):
            port = f"port{member}"
            self._run("ip", "netns", "add", name)
            self._run("ip", "-n", name, "link", "set", "lo", "up")
            peer = ("peer", "name", port, "netns", hub)
            self._run("ip", "link", "add", INTERFACE, "netns", name, "type", "veth", *peer)
            self._run("ip", "-n", name, "address", "add", f"{address}/24", "dev", INTERFACE)
            self._run("ip", "-n", hub, "link", "set", port, "master", BRIDGE)
            rate = self._rates.of(member, len(self.namespaces))
            for where, interface in ((name, INTERFACE), (hub, port)):
                self._run("ip", "-n", where, "link", "set", interface, "up")
                self._run("tc", "-n", where, "qdisc", "add", "dev", interface, "root", *bucket(rate))

    def _remove(self) -> None:
        for name in (*self.namespaces, self._hub):
            # Those that are not there are meant, too: it may have failed in the middle.
            command = ("ip", "netns", "delete", name)
            subprocess.run(command, check=False, capture_output=True, start_new_session=True)  # Ctrl+C is not for it

    @property
    def _hub(self) -> str:
        return f"{self._prefix}-hub"

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            needed = "needs CAP_SYS_ADMIN, CAP_NET_ADMIN, and veth, bridge and tbf in the kernel"
            raise ConfigError(FLAG, written(self._rates.rate), f"{needed}: {' '.join(command)}: {said}")


def why_not() -> str:
    """What is missing for a `Land`, and the remedy; "" where nothing is."""
    if os.geteuid() != 0:
        return "network namespaces need root: run it as root, or without --link-rate"
    missing = [program for program in ("ip", "tc") if shutil.which(program) is None]
    return f"{' and '.join(missing)} not found: install iproute2" if missing else ""


def bucket(rate: int) -> tuple[str, ...]:
    """A token bucket, as tc wants it."""
    burst = max(SMALLEST_BURST_BYTES, round(rate / 8 * BURST_S))
    return ("tbf", "rate", f"{rate}bit", "burst", str(burst), "latency", f"{QUEUE_MS}ms")


def written(rate: int) -> str:
    """As the flag takes it, such as 100mbit."""
    for unit, size in (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3)):
        if rate % size == 0:
            return f"{rate // size}{unit}"
    return f"{rate}bit"
