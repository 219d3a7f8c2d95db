"""Links between processes of one machine: for each member a network namespace with one end of a cable, the other ends
on a bridge in one more namespace. A token bucket (tc tbf) in front of both ends holds a link to a rate; a link can be
cut.

Linux, root and iproute2. Nothing outside of these namespaces is touched; they are gone at the end, however it comes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from marfl_peer.errors import MarflError

PREFIX = "marfl-links"
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
    """A namespace for each member; without `rates` their links are as fast as the machine is.

    Use it as a context manager. Raises: MarflError where that cannot be had.
    """

    def __init__(self, members: int, rates: Rates | None = None) -> None:
        self._rates = rates
        # If even the guard was killed they are left, and numbers of processes are given again: chance tells them apart.
        prefix = f"{PREFIX}-{os.getpid()}-{secrets.token_hex(4)}"
        self._hub = f"{prefix}-hub"
        self.namespaces: Sequence[str] = [f"{prefix}-{member}" for member in range(members)]
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if reason := why_not():
            raise MarflError(reason)
        try:
            self._guard = self._guarded()
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

    def inside(self, member: int, *command: str) -> tuple[str, ...]:
        """The command in the namespace of a member."""
        return ("ip", "netns", "exec", self.namespaces[member], *command)

    def cut(self, member: int) -> None:
        """Nothing comes from or to this member any more. Raises: MarflError."""
        _run("ip", "-n", self.namespaces[member], "link", "set", INTERFACE, "down")

    def heal(self, member: int) -> None:
        """Raises: MarflError."""
        _run("ip", "-n", self.namespaces[member], "link", "set", INTERFACE, "up")

    def _build(self) -> None:
        hub = self._hub
        _run("ip", "netns", "add", hub)
        _run("ip", "-n", hub, "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "-n", hub, "link", "set", BRIDGE, "up")
        for member, (name, address) in enumerate(zip(self.namespaces, self.addresses, strict=True)):
            port = f"port{member}"
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
            peer = ("peer", "name", port, "netns", hub)
            _run("ip", "link", "add", INTERFACE, "netns", name, "type", "veth", *peer)
            _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", INTERFACE)
            _run("ip", "-n", hub, "link", "set", port, "master", BRIDGE)
            for where, interface in ((name, INTERFACE), (hub, port)):
                _run("ip", "-n", where, "link", "set", interface, "up")
                if self._rates is not None:
                    limits = bucket(self._rates.of(member, len(self.namespaces)))
                    _run("tc", "-n", where, "qdisc", "add", "dev", interface, "root", *limits)

    def _guarded(self) -> subprocess.Popen[bytes]:
        """Removes all namespaces when its input ends: when it is closed, or this process is no more, killed or not.
        Those that are not there are meant, too: building them may have failed in the middle."""
        deletions = (f"ip netns delete {name}" for name in (*self.namespaces, self._hub))
        command = ("sh", "-c", "; ".join(("read -r _", *deletions)))
        nothing = subprocess.DEVNULL
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=nothing, stderr=nothing, start_new_session=True
        )  # in a session of its own: Ctrl+C is not for it

    def _remove(self) -> None:
        if self._guard is not None:
            self._guard.communicate()


def _run(*command: str) -> None:
    """In a session of its own: Ctrl+C is for this process."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, start_new_session=True)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        needed = "CAP_SYS_ADMIN, CAP_NET_ADMIN, and veth, bridge and tbf in the kernel"
        raise MarflError(f"network namespaces need {needed}: {' '.join(command)}: {said}")


def why_not() -> str:
    """What is missing for a `Land`, and the remedy; "" where nothing is."""
    if os.geteuid() != 0:
        return "network namespaces need root: run it as root"
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
