from __future__ import annotations

import pytest

from marfl_peer.peer.doctor.findings import Severity
from marfl_peer.peer.doctor.versions import VersionSeen, judge_kernels, judge_versions, look_at_versions


def test_this_installation_is_as_it_should_be() -> None:
    seen = look_at_versions()
    assert seen[0].wanted.startswith("Python >=3.11")
    assert {"torch", "kademlia"} <= {one.wanted.split(">")[0].split("<")[0] for one in seen}
    assert {one.severity for one in judge_versions(seen)} == {Severity.OK}


@pytest.mark.parametrize(
    ("wanted", "installed", "code", "remedy"),
    [
        ("torch>=2.2", "2.1.0", "version_wrong", "pip install 'torch>=2.2'"),
        ("kademlia<3,>=2.2.2", "3.0", "version_wrong", "pip install 'kademlia<3,>=2.2.2'"),
        ("blake3<2,>=1.0", None, "library_missing", "pip install 'blake3<2,>=1.0'"),
        ("Python >=3.11", "3.10.4", "version_wrong", "use Python >=3.11"),
        ("torch>=2.2", "2.13.0+cu130", "versions", ""),
        ("torch>=2.2", "2.3.0a0", "versions", ""),
        ('uvloop>=0.19; sys_platform == "win32"', None, "versions", ""),
        ("torch>=2.2", "of a friend", "versions", ""),
        ("what? is this", "1.0", "versions", ""),
    ],
)
def test_library_that_does_not_fit_is_named_with_its_remedy(
    wanted: str, installed: str | None, code: str, remedy: str
) -> None:
    (finding,) = judge_versions([VersionSeen(wanted=wanted, installed=installed)])
    assert finding.code == code
    assert remedy in finding.remedy


def test_who_has_no_compiler_is_told_what_it_costs() -> None:
    """It is no warning: everything works."""
    built, not_built = judge_kernels(True), judge_kernels(False)
    assert {built.severity, not_built.severity} == {Severity.OK}
    assert (built.code, not_built.code) == ("kernels", "kernels_by_numpy")
    assert "three times as long" in not_built.seen
    assert "gcc" in not_built.remedy and not built.remedy
