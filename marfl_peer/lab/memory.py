"""Samples how much memory the peers really take: PSS counts a page shared by N processes as 1/N for each.

Reading it makes the kernel walk a process's page tables, so it is done seldom, and ever more seldom.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FIRST_PAUSE_S = 5.0
MIB = 1 << 20
PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pss:
    """`max_bytes` of any one process, `total_bytes` of all `processes` of them."""

    max_bytes: int
    total_bytes: int
    processes: int

    def joined(self, other: Pss) -> Pss:
        """The highest of both samples, number by number."""
        return Pss(
            max_bytes=max(self.max_bytes, other.max_bytes),
            total_bytes=max(self.total_bytes, other.total_bytes),
            processes=max(self.processes, other.processes),
        )


class PssSampler:
    """Samples in a thread, at the first chance, then after 5 s, 10 s, 20 s, ... `highest` joins all
    samples.
    """

    def __init__(self, *, proc: Path = PROC) -> None:
        self._proc = proc
        self._due_at = float("-inf")
        self._pause_s = FIRST_PAUSE_S
        self._running: asyncio.Task[Pss | None] | None = None
        self.latest: Pss | None = None
        self.highest: Pss | None = None

    def sample_if_due(self, pids: list[int], *, now: float) -> None:
        """Starts a sample in the background when it is time for one, and takes in one that has ended."""
        if self._running is not None and self._running.done():
            self._take(self._running.result())
            self._running = None
        if self._running is None and now >= self._due_at:
            self._due_at = now + self._pause_s
            self._pause_s *= 2
            self._running = asyncio.create_task(asyncio.to_thread(sample_pss, pids, proc=self._proc))

    async def finish(self) -> None:
        """Waits for a sample that is under way."""
        if self._running is not None:
            self._take(await self._running)
            self._running = None

    def _take(self, sample: Pss | None) -> None:
        if sample is not None:
            self.latest = sample
            self.highest = sample if self.highest is None else self.highest.joined(sample)


def sample_pss(pids: Iterable[int], *, proc: Path = PROC) -> Pss | None:
    """PSS of those processes that still run; None when there are none or the system does not tell."""
    sizes = [size for pid in pids if (size := pss_bytes(proc / str(pid) / "smaps_rollup")) is not None]
    return Pss(max_bytes=max(sizes), total_bytes=sum(sizes), processes=len(sizes)) if sizes else None


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
