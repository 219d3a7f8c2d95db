"""What the doctor says: for every check how it stands, what was seen and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """fail: a peer cannot start, or not reach the others; warn: it can, but something is likely to go wrong."""

    OK = "ok"
    WARNING = "warn"
    FAILURE = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`code` names the check and what was found, such as `tcp_port_in_use`; `remedy`: what to do, if anything."""

    code: str
    severity: Severity
    seen: str
    remedy: str = ""


def ok(code: str, seen: str, remedy: str = "") -> Finding:
    """All is well; a remedy is then a hint."""
    return Finding(code=code, severity=Severity.OK, seen=seen, remedy=remedy)


def warn(code: str, seen: str, remedy: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, seen=seen, remedy=remedy)


def fail(code: str, seen: str, remedy: str) -> Finding:
    return Finding(code=code, severity=Severity.FAILURE, seen=seen, remedy=remedy)


def worst(findings: Iterable[Finding]) -> Severity:
    """The most severe of them."""
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.OK)
