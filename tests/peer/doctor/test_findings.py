from __future__ import annotations

from marfl_peer.peer.doctor.findings import Finding, Severity, fail, ok, warn, worst


def test_worst_finding_decides() -> None:
    fine, odd, bad = ok("a", "x"), warn("b", "x", "y"), fail("c", "x", "y")
    assert worst([]) is Severity.OK
    assert worst([fine]) is Severity.OK
    assert worst([odd, fine]) is Severity.WARNING
    assert worst([odd, bad, fine]) is Severity.FAILURE


def test_finding_says_code_what_was_seen_and_the_remedy() -> None:
    assert fail("c", "x", "y") == Finding(code="c", severity=Severity.FAILURE, seen="x", remedy="y")
    assert ok("a", "x", "hint").remedy == "hint"
