from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from marfl_peer.peer.doctor.findings import Severity
from marfl_peer.peer.doctor.resources import MIB, ResourcesSeen, judge_resources, look_at_resources

GOOD = ResourcesSeen(
    peers=4, swarm=16, task="digits", threads=1, available_bytes=8192 * MIB, cores=4.0, open_files=1024
)


@pytest.mark.parametrize(
    ("changes", "code", "severity", "remedy"),
    [
        ({"available_bytes": 300 * MIB}, "memory_short", Severity.FAILURE, "plan for 1 peer(s) here"),
        ({"available_bytes": 100 * MIB}, "memory_short", Severity.FAILURE, "plan for 0 peer(s) here"),
        ({"available_bytes": 600 * MIB}, "memory_tight", Severity.WARNING, "`marfl-peer swarm`"),
        ({"threads": 8}, "threads_many", Severity.WARNING, "--threads 1"),
        ({"threads": 8, "peers": 1}, "threads_many", Severity.WARNING, "--threads 4"),
        ({"peers": 20, "cores": 0.5}, "processors_few", Severity.WARNING, "plan for 8 peers or fewer"),
        ({"open_files": 64}, "open_files_few", Severity.FAILURE, "ulimit -n 1024"),
        ({"open_files": 1024, "swarm": 1000}, "open_files_few", Severity.FAILURE, "ulimit -n 2064"),
    ],
)
def test_planted_shortage_is_named_with_its_remedy(
    changes: dict[str, object], code: str, severity: Severity, remedy: str
) -> None:
    found = [one for one in judge_resources(dataclasses.replace(GOOD, **changes)) if one.severity is not Severity.OK]
    assert [(one.code, one.severity) for one in found] == [(code, severity)]
    assert remedy in found[0].remedy


@pytest.mark.parametrize("changes", [{}, {"open_files": -1}, {"peers": 1, "threads": 4}])
def test_plenty_has_no_remedy(changes: dict[str, object]) -> None:
    found = judge_resources(dataclasses.replace(GOOD, **changes))
    assert {(one.severity, one.remedy) for one in found} == {(Severity.OK, "")}


def test_larger_models_take_more() -> None:
    tight = dataclasses.replace(GOOD, peers=1, available_bytes=300 * MIB)
    assert judge_resources(tight)[0].code == "memory"
    assert judge_resources(dataclasses.replace(tight, task="mnist"))[0].code == "memory_short"


def look(proc: Path, cgroup: Path) -> ResourcesSeen:
    return look_at_resources(peers=1, swarm=1, task="digits", threads=1, proc=proc, cgroup=cgroup)


def test_limits_of_a_container_count(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 4000000 kB\n")
    assert look(tmp_path, tmp_path).available_bytes == 4_000_000 << 10
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    seen = look(tmp_path, tmp_path)
    assert (seen.available_bytes, seen.cores) == (600_000, 0.5)


def test_container_without_limits_and_system_that_tells_nothing_have_plenty(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    seen = look(tmp_path, tmp_path)
    assert seen.available_bytes > 1 << 60
    assert seen.cores >= 1
