"""How a line ends for a member, and what the shell and the journal are told of it. Knows no phases and no leader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from marfl_peer.facts import GroupOutcome, WaitEnded
from marfl_peer.ids import PeerId
from marfl_peer.protocol.instructions import FinishLine, Instruction, Tell
from marfl_peer.protocol.lines import Line
from marfl_peer.protocol.messages import Ballot, LineName, Member
from marfl_peer.protocol.seats import seats_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """`ballot`: the one whose result is held, None without one. `absent`: how many cells it went without."""

    outcome: GroupOutcome
    ballot: Ballot | None
    members: tuple[PeerId, ...]
    absent: int


def exchanged(line: Line, ballot: Ballot, members: Sequence[Member]) -> Ending:
    """The exchange of `ballot` is complete at this peer, which is one of its `members`."""
    absent = len(set(line.players) - {seat.cell for seat in seats_of(members)})
    outcome: GroupOutcome = "partial" if absent else "complete"
    if len(members) == 1 and len(line.peers) > 1:
        outcome = "alone"
    peers = tuple(PeerId(member.peer_id) for member in members)
    return Ending(outcome=outcome, ballot=ballot, members=peers, absent=absent)


def taken(ballot: Ballot, members: tuple[PeerId, ...]) -> Ending:
    """The result of a ballot that others completed was fetched."""
    return Ending(outcome="taken", ballot=ballot, members=members, absent=0)


def skipped(line: Line) -> Ending:
    """There is no result."""
    return Ending(outcome="skipped", ballot=None, members=(), absent=len(line.players))


def conclusion(
    name: LineName, ending: Ending, *, attempts: int, waited_s: float, allowed_s: float
) -> list[Instruction]:
    """What to tell when a line has ended: how long this peer waited, and that its cells go on."""
    waited = WaitEnded(
        iteration=name.iteration,
        round=name.round,
        waited_for="result",
        seconds=waited_s,
        allowed_s=allowed_s,
        outcome="deadline" if ending.ballot is None else "arrived",
    )
    finish = FinishLine(
        name=name,
        outcome=ending.outcome,
        ballot=ending.ballot,
        members=ending.members,
        attempts=attempts,
        absent=ending.absent,
        seconds=waited_s,
    )
    return [Tell(fact=waited), finish]
