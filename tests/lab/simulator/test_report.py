"""A report starts empty, and each has its own lists."""

from __future__ import annotations

from marfl_peer.lab.simulator.report import Report, Violation


def test_reports_share_nothing() -> None:
    one, other = Report(seed=1, peers=2), Report(seed=2, peers=2)
    one.violations.append(Violation(seed=1, invariant="I1", message="two lists"))
    one.coverage["kill"] += 1
    assert (other.violations, other.coverage) == ([], {})
