"""What churn wants done to processes, and how often it was done."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from marfl_peer.lab.churn.plan import Action


@dataclass(frozen=True, slots=True)
class Strike:
    """Send this signal to this peer: what is done to it, in which iteration it was to happen."""

    index: int
    number: signal.Signals
    action: Action
    iteration: int


@dataclass(frozen=True, slots=True)
class Restart:
    """Start this peer again, which was killed in this iteration and has ended."""

    index: int
    iteration: int


Step = Strike | Restart


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnCounts:
    """How often something was done to a peer of a run."""

    killed: int = 0
    restarted: int = 0
    paused: int = 0
    dropped_out: int = 0
    slowed: int = 0


NOTHING_DONE = ChurnCounts()
