"""One scenario for each kind of trouble that a swarm must get over, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import get_args

from marfl_peer.lab.simulator.faults.plan import (
    Action,
    Crash,
    Cut,
    Fault,
    Hold,
    Hostile,
    Hosts,
    Leave,
    Lie,
    Newcomers,
    Pause,
    Plan,
    Role,
    Share,
    Slow,
    Who,
)
from marfl_peer.lab.simulator.faults.triggers import At, Edge, OnFrame, Trigger
from marfl_peer.lab.simulator.scenario import BOOTSTRAP_PEERS, Scenario

LEADER, OWNER, MEMBER = Role("leader"), Role("owner"), Role("member")
MIDDLE = At(time_s=1.3)
"""In the local update of the third iteration or about."""


def _first(message: str, *, edge: Edge = "before") -> OnFrame:
    return OnFrame(direction="sends", message=message, iteration=2, edge=edge)


def _one(
    what: Action, who: Who, when: Trigger, *, peers: int = 8, iterations: int = 6, batch_s: float = 0.2
) -> Scenario:
    plan = Plan(faults=(Fault(what=what, who=who, when=when),))
    return Scenario(seed=1, peers=peers, iterations=iterations, batch_s=batch_s, plan=plan)


DIRECTED: Mapping[str, Scenario] = MappingProxyType(
    {
        "dead-leader": _one(Crash(), LEADER, _first("Propose")),
        "dead-leader-restarted": _one(Crash(restart_after_s=0.5), LEADER, _first("Propose"), iterations=10),
        "rival-leaders": _one(Cut(for_s=6.0), LEADER, _first("Propose", edge="after"), iterations=15, batch_s=1.0),
        "dead-owner": _one(Crash(), OWNER, _first("Part.gather")),
        "half-dead-owner": _one(Crash(), OWNER, _first("Part.gather", edge="after")),
        "silent-member": _one(Crash(silently=True), MEMBER, _first("Ready")),
        "slow-member": _one(Slow(factor=20.0, for_s=8.0), MEMBER, MIDDLE),
        "paused-member": _one(Pause(for_s=5.0), MEMBER, _first("Part.scatter")),
        "late-messages": _one(Hold(for_s=5.0), MEMBER, _first("Part.scatter")),
        **{
            f"hostile-{lie.replace('_', '-')}": _one(Hostile(lie=lie, for_s=0.5), Hosts((3,)), MIDDLE, iterations=12)
            for lie in get_args(Lie)
        },
        "asymmetric-partition": _one(
            Cut(for_s=8.0, direction="out"), Hosts((4, 5, 6, 7)), At(time_s=5.0), iterations=15, batch_s=1.0
        ),
        "split-swarm": _one(Cut(for_s=30.0), Hosts((4, 5, 6, 7)), At(time_s=5.0), iterations=25, batch_s=1.0),
        "bootstrap-gone": Scenario(
            seed=1,
            plan=Plan(
                faults=(
                    Fault(what=Crash(), who=Hosts(tuple(range(BOOTSTRAP_PEERS))), when=MIDDLE),
                    Fault(what=Crash(restart_after_s=0.5), who=Hosts((5,)), when=At(time_s=1.5)),
                )
            ),
            iterations=20,
        ),
        "mass-departure": _one(Leave(), Share(0.5), MIDDLE, peers=12),
        "mass-crash": _one(Crash(silently=True), Share(0.5), MIDDLE, peers=12),
        "flash-crowd": _one(Newcomers(count=8), Role("anyone"), MIDDLE, iterations=12),
    }
)
