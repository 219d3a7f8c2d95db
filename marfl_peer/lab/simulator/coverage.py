"""What simulated runs went through: every phase of a line's member with every event in it, and every fault at its step.

Counts while it is entered, by standing in for the one place where a member's phase changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from marfl_peer.protocol.phases import TRANSITIONS, Course, Event

PAIRS = tuple(f"{phase.name} {event.name}" for phase, events in TRANSITIONS.items() for event in events)
"""What the table of phases allows, as `PHASE EVENT`."""
WANTED = 20
"""Everything is to be hit so often."""


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


def table(counts: Mapping[str, int]) -> list[tuple[str, int, bool]]:
    """(what, how often, whether often enough) for every pair of the table, then for every fault that was seen."""
    names = [*PAIRS, *sorted(set(counts) - set(PAIRS))]
    return [(name, counts.get(name, 0), counts.get(name, 0) >= WANTED) for name in names]
