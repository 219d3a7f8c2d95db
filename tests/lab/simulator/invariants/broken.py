"""Small swarms, whole or deliberately broken, and what the checkers say of them."""

from __future__ import annotations

from marfl_peer.lab.simulator.faults.plan import Crash, Fault, Hostile, Hosts, Newcomers, Plan
from marfl_peer.lab.simulator.faults.triggers import At, OnFact
from marfl_peer.lab.simulator.planted.catalogue import CATALOGUE
from marfl_peer.lab.simulator.report import Violation
from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario

RESTARTED = Fault(what=Crash(restart_after_s=8.0), when=OnFact(fact="IterationStarted", iteration=2), who=Hosts((4,)))
"""Comes back long after the others have noticed."""
LOST = Fault(what=Crash(), when=OnFact(fact="GroupFinished", iteration=2), who=Hosts((4,)))
"""Between its first round and its second."""
NEWCOMER = Fault(what=Newcomers(count=1), when=At(time_s=0.6))
LIAR = Fault(what=Hostile(lie="nan", for_s=60.0), when=At(time_s=0.1), who=Hosts((2,)))


def scenario(
    *faults: Fault, peers: int = 6, iterations: int = 2, group_size: int = 3, batch_s: float = 0.1
) -> Scenario:
    return Scenario(
        seed=1,
        peers=peers,
        iterations=iterations,
        group_size=group_size,
        batch_s=batch_s,
        plan=Plan(faults=faults),
    )


def violations(bug: str, of: Scenario) -> list[Violation]:
    """What the checkers report with the bug of that name planted."""
    planted = next(one for one in CATALOGUE if one.name == bug)
    with planted.planted():
        return run(of).violations


def found(bug: str, of: Scenario) -> set[str]:
    """The invariants that broke."""
    return {violation.invariant for violation in violations(bug, of)}
