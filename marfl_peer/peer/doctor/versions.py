"""Python and the libraries: whether what is installed is what this package asks for, and all that it can be."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from marfl_peer.peer.doctor.findings import Finding, fail, ok

PACKAGE = "marfl-peer"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSeen:
    """`wanted`: a requirement as pyproject.toml has it; `installed`: None where it is not."""

    wanted: str
    installed: str | None


def look_at_versions() -> tuple[VersionSeen, ...]:
    """Python's own first. Nothing about libraries where the package runs from a folder without being installed."""
    try:
        about = metadata.metadata(PACKAGE)
    except metadata.PackageNotFoundError:
        return ()
    python = VersionSeen(wanted=f"Python {about['Requires-Python'] or ''}", installed=platform.python_version())
    wanted = [line for line in metadata.requires(PACKAGE) or () if "extra ==" not in line]
    return (python, *(VersionSeen(wanted=line, installed=_installed(line)) for line in wanted))


def judge_versions(seen: Sequence[VersionSeen]) -> list[Finding]:
    findings = []
    for one in seen:
        requirement = _requirement(one.wanted)
        if requirement is None or (requirement.marker is not None and not requirement.marker.evaluate()):
            continue
        asks = f"{requirement.name} {requirement.specifier}".strip()
        if one.installed is None:
            remedy = f"`{sys.executable} -m pip install '{requirement.name}{requirement.specifier}'`"
            findings.append(fail("library_missing", f"{requirement.name} is not installed", remedy))
        elif not _fits(requirement, one.installed):
            remedy = f"`{sys.executable} -m pip install '{requirement.name}{requirement.specifier}'`"
            if requirement.name == "Python":
                remedy = f"use {asks}"
            findings.append(fail("version_wrong", f"{requirement.name} {one.installed}, wanted is {asks}", remedy))
    if not findings:
        findings.append(ok("versions", f"Python and {max(len(seen) - 1, 0)} libraries are as this release asks for"))
    return findings


def judge_kernels(is_built: bool) -> Finding:
    """`is_built`: whether the package has its part in C."""
    if is_built:
        return ok("kernels", "sums and codecs are computed in C")
    seen = "sums and codecs are computed by numpy: the same values, but exchanges with a codec take three times as long"
    remedy = "a C compiler and Python's headers (gcc and python3-dev) before this package is installed"
    return ok("kernels_by_numpy", seen, remedy)


def _installed(line: str) -> str | None:
    requirement = _requirement(line)
    try:
        return metadata.version(requirement.name) if requirement is not None else None
    except metadata.PackageNotFoundError:
        return None


def _requirement(line: str) -> Requirement | None:
    try:
        return Requirement(re.sub(r"^Python ", "Python", line))
    except InvalidRequirement:
        return None


def _fits(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:  # of a build of one's own
        return True
