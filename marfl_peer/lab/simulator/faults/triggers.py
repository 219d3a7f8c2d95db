"""When a fault comes, as values: at a time, when a host sends or reads a frame, when it tells a fact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from marfl_peer.facts import AnyFact
from marfl_peer.protocol.messages import AnyMessage, Message, Part

Direction = Literal["sends", "receives"]
Edge = Literal["before", "after"]

ANY = "any"
"""In place of the name of a message: every one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Virtual seconds after the start."""

    time_s: float

    def __str__(self) -> str:
        return f"at {self.time_s:.3f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFrame:
    """The host's `nth` frame in that direction that is a `message`; of `iteration`, if one is given: then messages that
    name no iteration do not count."""

    direction: Direction
    message: str = ANY
    iteration: int | None = None
    nth: int = 1
    edge: Edge = "after"

    def __str__(self) -> str:
        return f"{self.edge} it {self.direction} {self.message} no. {self.nth}{_of(self.iteration)}"

    def counts(self, message: Message) -> bool:
        """Whether this message is one of those that are counted."""
        if self.message not in (ANY, type(message).__name__, step_of(message)):
            return False
        return self.iteration is None or self.iteration == iteration_of(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFact:
    """The host's `nth` telling of a fact of that class; of `iteration`, if one is given."""

    fact: str
    iteration: int | None = None
    nth: int = 1

    def __str__(self) -> str:
        return f"as it tells {self.fact} no. {self.nth}{_of(self.iteration)}"

    def counts(self, fact: object) -> bool:
        """Whether this fact is one of those that are counted."""
        if type(fact).__name__ != self.fact:
            return False
        return self.iteration is None or self.iteration == getattr(fact, "iteration", None)


Trigger = At | OnFrame | OnFact


def _of(iteration: int | None) -> str:
    return "" if iteration is None else f" of iteration {iteration}"


def iteration_of(message: Message) -> int | None:
    """The iteration that a message of a round names; None for all others."""
    name = getattr(message, "name", None)
    return None if name is None else int(name.iteration)


def step_of(message: Message) -> str:
    """What the message is a step of: its class, and of a part its stage."""
    return f"Part.{message.stage}" if isinstance(message, Part) else type(message).__name__


MESSAGES = (*sorted(kind.__name__ for kind in get_args(AnyMessage)), "Part.gather", "Part.scatter")
"""What `OnFrame.message` may be, besides any."""
FACTS = tuple(sorted(kind.__name__ for kind in get_args(AnyFact)))
"""What `OnFact.fact` may be."""
