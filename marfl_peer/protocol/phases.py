"""What a member of a line may do when: the table of phases that its machine goes by.

Knows neither ballots nor messages. What the table does not allow is a bug of this program: whoever reports an event
asks first, because messages and deadlines may come at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType

from marfl_peer.errors import LocalProtocolError


class Phase(Enum):
    ABSENT = auto()
    """This peer is not here yet: it still trains or is in an earlier round."""
    WAITING = auto()
    """Here, and waiting for a proposal."""
    EXCHANGING = auto()
    """Under the ballot that it promised last."""
    FETCHING = auto()
    """Downloading the result of a ballot that others completed."""
    FINISHED = auto()
    """Through with the line, with a result or without."""


class Event(Enum):
    ARRIVED = auto()
    PROMISED = auto()
    """It accepted a ballot above every one before."""
    TOOK = auto()
    """It chose to fetch a result that others hold."""
    FETCH_FAILED = auto()
    EXCHANGED = auto()
    FETCHED = auto()
    GAVE_UP = auto()
    """The round's deadline passed, or nobody is left to lead."""


TRANSITIONS: Mapping[Phase, Mapping[Event, Phase]] = MappingProxyType(
    {
        Phase.ABSENT: {
            Event.ARRIVED: Phase.WAITING,
        },
        Phase.WAITING: {
            Event.PROMISED: Phase.EXCHANGING,
            Event.TOOK: Phase.FETCHING,
            Event.GAVE_UP: Phase.FINISHED,
        },
        Phase.EXCHANGING: {
            Event.PROMISED: Phase.EXCHANGING,
            Event.TOOK: Phase.FETCHING,
            Event.EXCHANGED: Phase.FINISHED,
            Event.GAVE_UP: Phase.FINISHED,
        },
        Phase.FETCHING: {
            Event.PROMISED: Phase.EXCHANGING,
            Event.FETCHED: Phase.FINISHED,
            Event.FETCH_FAILED: Phase.WAITING,
            Event.GAVE_UP: Phase.FINISHED,
        },
        Phase.FINISHED: {},
    }
)
"""The phase that follows when an event happens in a phase; events that are not listed are illegal there."""


@dataclass(slots=True)
class Course:
    """One member's way through the phases of one line, and the events that made it."""

    phase: Phase = Phase.ABSENT
    events: list[Event] = field(default_factory=list)

    def allows(self, event: Event) -> bool:
        return event in TRANSITIONS[self.phase]

    def go(self, event: Event) -> None:
        """`event` happened. Raises: LocalProtocolError where the table does not allow it, with what led there."""
        after = TRANSITIONS[self.phase].get(event)
        if after is None:
            before = ", ".join(one.name for one in self.events[-8:]) or "nothing"
            raise LocalProtocolError(f"{event.name} while {self.phase.name}, after {before}")
        self.events.append(event)
        self.phase = after
