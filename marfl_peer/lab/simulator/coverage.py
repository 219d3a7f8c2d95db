"""What simulated runs went through: every phase of a line's member with every event in it, and every fault at every
step. What has to be hit stands here, whatever was seen.

Counts while it is entered, by standing in for the one place where a member's phase changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import get_args

from marfl_peer.lab.simulator.faults.plan import Action
from marfl_peer.protocol.phases import TRANSITIONS, Course, Event

PAIRS = tuple(f"{phase.name} {event.name}" for phase, events in TRANSITIONS.items() for event in events)
"""What the table of phases allows, as `PHASE EVENT`."""
WANTED = 20
"""Everything is to be hit so often."""

MESSAGE_STEPS: Mapping[str, tuple[str, ...]] = {
    "founding": ("StartProposal", "StartAnswer", "Start"),
    "joining": ("JoinRequest", "JoinReply"),
    "matchmaking": ("Here", "Propose", "Ready", "Nack", "Have", "Take", "Done", "Play", "CannotPlay", "Behind"),
    "exchange": ("Part.scatter", "Part.gather", "ChunkDigest"),
    "fetching": ("Fetch", "ResultOffer", "ResultPart"),
    "catching up": ("Events", "Whereabouts", "StateRequest", "StateOffer", "StatePull", "StatePart", "StateTaken"),
}
"""The steps that are messages, one direction and edge as good as another. Left out:

Culprit                     says that values are not finite: only a hostile peer of two of the eight lies provokes it
NoResult, NoState           what a peer was told that it may fetch is held until it was fetched or its connection broke:
                            said only to who asks in that very moment
Absent                      younger than the drawing, which would make other scenarios of all seeds with one more step
Relayed                     younger, too, and said in swarms of more than 33 peers only, which are rarely drawn
RunRequest, RunReply        asked before a peer starts, by the command line: no simulated peer does
Hello, Proof, Refusal, Goodbye, Heartbeat, StatusRequest, StatusReply
                            of connections, and of those who look on: no steps of the protocol
"""
FACT_STEPS = (
    "ViewChanged",
    "IterationStarted",
    "LocalUpdateFinished",
    "GroupAgreed",
    "GroupFinished",
    "CellTakenOver",
    "Evaluated",
    "IterationFinished",
    "StateSaved",
    "StateFetched",
    "StateResumed",
)
"""The steps of a peer's own life: where it is when it tells the fact. Others tell of somebody else, or of trouble."""
AT_A_TIME = "at a time"

KINDS = tuple(kind.__name__.lower() for kind in get_args(Action))
AT_MESSAGES = ("crash", "pause", "cut", "leave", "hold")
AT_FACTS = ("crash", "pause", "cut", "leave")
"""Only the connection on which a frame is sent can be held. What else there is befalls links, or lasts for a while: it
comes at a time."""

Cell = tuple[str, str]
"""A kind of fault and a step."""

STEPS: Mapping[str, tuple[str, ...]] = {
    AT_A_TIME: tuple(kind for kind in KINDS if kind != "hold"),
    **{step: AT_MESSAGES for steps in MESSAGE_STEPS.values() for step in steps},
    **dict.fromkeys(FACT_STEPS, AT_FACTS),
}
"""Every step, and the kinds of faults that have to come at it."""


@contextmanager
def counting(counts: Counter[str]) -> Iterator[None]:
    """Adds each (phase, event) that happens to `counts`, as `PHASE EVENT`."""
    go = Course.go

    def counted(course: Course, event: Event) -> None:
        counts[f"{course.phase.name} {event.name}"] += 1
        go(course, event)

    Course.go = counted  # type: ignore[method-assign, assignment]  # the only way in that costs the product nothing
    try:
        yield
    finally:
        Course.go = go  # type: ignore[method-assign]


def fault_cells(counts: Mapping[str, int]) -> Counter[Cell]:
    """How often each kind of fault came at each step: of what the injector counts, direction and edge are left out."""
    cells: Counter[Cell] = Counter()
    for name, times in counts.items():
        kind, *_, last = name.split()
        if kind in KINDS:
            cells[kind, AT_A_TIME if name.endswith(AT_A_TIME) else last] += times
    return cells


def pair_rows(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """(pair, how often) for every pair of the table of phases."""
    return [(pair, counts.get(pair, 0)) for pair in PAIRS]


def fault_rows(counts: Mapping[str, int]) -> list[tuple[str, list[int | None]]]:
    """(step, how often each of `KINDS` came at it) for every step; None for what need not come at it."""
    cells = fault_cells(counts)
    return [(step, [cells[kind, step] if kind in kinds else None for kind in KINDS]) for step, kinds in STEPS.items()]


def missing(counts: Mapping[str, int]) -> Sequence[str]:
    """What was hit too rarely."""
    cells = fault_cells(counts)
    pairs = [pair for pair, times in pair_rows(counts) if times < WANTED]
    return pairs + [f"{kind} {step}" for step, kinds in STEPS.items() for kind in kinds if cells[kind, step] < WANTED]
