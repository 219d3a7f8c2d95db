"""Samples how much memory the peers really take: PSS counts a page shared by N processes as 1/N for each.

Reading it makes the kernel walk a process's page tables, so it is done seldom, and ever more seldom.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FIRST_PAUSE_S = 5.0
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pss:
    """`max_bytes` of any one process, `total_bytes` of all of them."""

    max_bytes: int
    total_bytes: int

    def joined(self, other: Pss) -> Pss:
        """The highest of both samples, number by number."""
        return Pss(
            max_bytes=max(self.max_bytes, other.max_bytes),
            total_bytes=max(self.total_bytes, other.total_bytes),
        )


class SamplingTimes:
    """When to sample: at the first chance, then after 5 s, 10 s, 20 s, ..."""

    def __init__(self) -> None:
        self._next = float("-inf")
        self._pause_s = FIRST_PAUSE_S

    def is_due(self, now: float) -> bool:
        """True at most once a pause; the pause doubles with every True."""
        if now < self._next:
            return False
        self._next = now + self._pause_s
        self._pause_s *= 2
        return True


def sample_pss(pids: Iterable[int], *, proc: Path = Path("/proc")) -> Pss | None:
    """PSS of those processes that still run; None when there are none or the system does not tell."""
    sizes = [size for pid in pids if (size := pss_bytes(proc / str(pid) / "smaps_rollup")) is not None]
    return Pss(max_bytes=max(sizes), total_bytes=sum(sizes)) if sizes else None


def pss_bytes(rollup: Path) -> int | None:
    """The "Pss:" line of a smaps_rollup file, in bytes."""
    try:
        for line in rollup.read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return None


def resident_bytes() -> int:
    """Resident memory of this process; 0 where /proc does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
