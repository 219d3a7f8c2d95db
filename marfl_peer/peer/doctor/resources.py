"""What the planned peers take of this machine: memory, processors, open files."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from marfl_peer.peer.doctor.findings import Finding, fail, ok, warn

MIB = 1 << 20
FIRST_PEER_MIB = 290
"""Resident memory of one `join` with a small model: Python, torch, libraries. Measured in containers."""
NEXT_PEER_MIB = 50
"""Of a further peer where most is shared, as `swarm` forks them. Measured, PSS, 16 peers of the task digits."""
LARGE_MODEL_MIB = {"mnist": 90, "20news": 30}
"""On top of that, with vectors of the task's size in flight: an estimate."""
FILES_BESIDES = 64
"""Open files of a peer that are no connections to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesSeen:
    """Of this machine, or of what a container may take of it. `swarm`: peers that a peer may be connected to."""

    peers: int
    swarm: int
    task: str
    threads: int
    available_bytes: int
    cores: float
    open_files: int


def look_at_resources(
    *,
    peers: int,
    swarm: int,
    task: str,
    threads: int,
    proc: Path = Path("/proc"),
    cgroup: Path = Path("/sys/fs/cgroup"),
) -> ResourcesSeen:
    """Reads /proc and the control group; a number that is not told counts as plenty."""
    return ResourcesSeen(
        peers=peers,
        swarm=swarm,
        task=task,
        threads=threads,
        available_bytes=min(_memory_available(proc), _memory_left(cgroup)),
        cores=min(float(len(os.sched_getaffinity(0))), _cores_allowed(cgroup)),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


def judge_resources(seen: ResourcesSeen) -> list[Finding]:
    return [_judge_memory(seen), _judge_cores(seen), _judge_files(seen)]


def _judge_memory(seen: ResourcesSeen) -> Finding:
    available = seen.available_bytes // MIB
    large = LARGE_MODEL_MIB.get(seen.task, 0)
    least = FIRST_PEER_MIB + large + (seen.peers - 1) * (NEXT_PEER_MIB + large)
    alone = seen.peers * (FIRST_PEER_MIB + large)
    text = f"{available} MiB of memory are free for {seen.peers} peer(s)"
    if available < least:
        fitting = max((available - FIRST_PEER_MIB - large) // (NEXT_PEER_MIB + large) + 1, 0)
        remedy = f"plan for {fitting} peer(s) here, or make room: {least} MiB are needed even with `swarm`"
        return fail("memory_short", text, remedy)
    if available < alone:
        remedy = f"start them with `marfl-peer swarm`, which shares memory ({least} MiB); one by one takes {alone} MiB"
        return warn("memory_tight", text, remedy)
    return ok("memory", f"{text}, about {alone} are needed")


def _judge_cores(seen: ResourcesSeen) -> Finding:
    wanted = seen.peers * seen.threads
    text = f"{seen.peers} peer(s) with {seen.threads} thread(s) each on {seen.cores:g} processor(s)"
    if seen.threads > 1 and wanted > seen.cores:
        fitting = max(int(seen.cores) // seen.peers, 1)
        return warn("threads_many", text, f"give --threads {fitting}: more of them only wait for each other")
    if wanted > 16 * seen.cores:
        remedy = f"plan for {int(16 * seen.cores)} peers or fewer here, or expect time-outs: heartbeats come late"
        return warn("processors_few", text, remedy)
    return ok("processors", text)


def _judge_files(seen: ResourcesSeen) -> Finding:
    needed = FILES_BESIDES + 2 * max(seen.swarm, seen.peers)
    text = f"a process may open {seen.open_files} files"
    if seen.open_files < 0 or seen.open_files >= needed:  # -1: as many as it likes
        return ok("open_files", text)
    remedy = f"`ulimit -n {max(needed, 1024)}` before the start (LimitNOFILE= of a systemd unit)"
    return fail("open_files_few", f"{text}; a peer of this swarm needs {needed}", remedy)


def _memory_available(proc: Path) -> int:
    for line in _text(proc / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 1 << 62


def _memory_left(cgroup: Path) -> int:
    """Of version 2 or version 1 of control groups."""
    for limit, used in (
        (cgroup / "memory.max", cgroup / "memory.current"),
        (cgroup / "memory/memory.limit_in_bytes", cgroup / "memory/memory.usage_in_bytes"),
    ):
        most, taken = _text(limit).strip(), _text(used).strip()
        if most.isdigit() and taken.isdigit():
            return max(int(most) - int(taken), 0)
    return 1 << 62


def _cores_allowed(cgroup: Path) -> float:
    words = _text(cgroup / "cpu.max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0].isdigit() else float("inf")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
