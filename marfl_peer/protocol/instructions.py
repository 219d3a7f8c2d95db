"""What the state machines tell the shell to do. The shell has no choice in it; it moves the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from marfl_peer.facts import Fact, GroupOutcome
from marfl_peer.ids import PeerId
from marfl_peer.protocol.messages import Ballot, Here, LineName, Member, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    to: PeerId
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenExchange:
    """Make buffers for this ballot and an exchange machine that runs it; then tell the members that we are ready.
    Values are encoded against the state that this iteration began from, or (not `is_coded`) sent in full. `shares`: how
    much of the vector each member owns; none: all the same."""

    name: LineName
    ballot: Ballot
    members: tuple[Member, ...]
    is_coded: bool = False
    shares: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortExchange:
    """Throw away what this ballot received. What the ballot of another attempt holds is not touched."""

    name: LineName
    ballot: Ballot


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """Download the result of a ballot that others completed, from the first of `sources` that can."""

    name: LineName
    ballot: Ballot
    sources: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindPlayer:
    """Can this peer itself play the cell on this line? Answer with arrival or with CannotPlayHere."""

    name: LineName
    cell: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishLine:
    """This peer is through with the line: its cells go on with the combined seat (None: with what they had)."""

    name: LineName
    outcome: GroupOutcome
    ballot: Ballot | None
    members: tuple[PeerId, ...]
    attempts: int
    absent: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseResult:
    """Everybody on the line has the result: it need not be kept for others."""

    name: LineName


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    fact: Fact


def waiting(step: Send, waited_s: float) -> Send:
    """The same; where the sender says that it is here, with how long its clock has been running."""
    if not isinstance(step.message, Here):
        return step
    return Send(to=step.to, message=msgspec.structs.replace(step.message, waited_s=waited_s))


Instruction = Send | OpenExchange | AbortExchange | FetchResult | FindPlayer | FinishLine | ReleaseResult | Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSpan:
    """Stream floats [start, stop) of the contribution (scatter) or of the result (gather) to members."""

    to: tuple[PeerId, ...]
    stage: Literal["scatter", "gather"]
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduce:
    """Combine floats [start, stop) of all contributions, in the order of the members, into the result."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignChunk:
    """Hash and sign floats [start, stop) of the result and send the digest to `to`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteExchange:
    pass


ExchangeInstruction = SendSpan | Reduce | SignChunk | CompleteExchange
