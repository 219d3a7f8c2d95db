"""Planted in what agreement rests on: ballots, who is ready, who leads."""

from __future__ import annotations

from typing import Any

from marfl_peer.lab.simulator.planted.planting import Patch, Planted
from marfl_peer.peer.attempts import Attempts
from marfl_peer.protocol import exchange
from marfl_peer.protocol.ballots import BallotBox
from marfl_peer.protocol.exchange import Exchange
from marfl_peer.protocol.leadership import Leadership
from marfl_peer.protocol.reports import Reports


def _accept_any(before: Any) -> Any:
    def accept(self: BallotBox, ballot: Any) -> bool:
        self.saw(ballot)
        if self.completed is not None or self.promised == ballot:
            return False
        self.promised = ballot
        return True

    return accept


def _forget_highest(before: Any) -> Any:
    def propose(self: BallotBox, leader: Any) -> Any:
        self.highest_attempt = 0
        return before(self, leader)

    return propose


def _of_any_ballot(before: Any) -> Any:
    """Parts go to whatever exchange of the line runs."""

    def routed(self: Attempts, sender: Any, part: Any, length: int) -> Any:
        for (name, _), transfer in self._transfers.items():
            if name == part.name:
                return transfer.room(sender, part, length)
        return before(self, sender, part, length)

    return routed


def _before_ready(before: Any) -> Any:
    def start(self: Exchange) -> Any:
        steps = before(self)
        for peer in self._others:
            steps += self.ready(peer)
        return steps

    return start


def _never_replaced(before: Any) -> Any:
    return property(lambda self: min(self._line.peers))


def _at_once(before: Any) -> Any:
    def lead(self: Leadership, *, gather_is_over: bool) -> Any:
        return before(self, gather_is_over=True)

    return lead


def _said_often(before: Any) -> Any:
    return lambda self: before(self) * 25


def _first_seat_only(before: Any) -> Any:
    return lambda member: member.seats[0].weight


BALLOTS = (
    Planted(
        name="stale ballot accepted",
        description="a member accepts a ballot below the one that it accepted last",
        breaks=("I1",),
        patches=(
            Patch(owner=BallotBox, name="accept", make=_accept_any),
            Patch(owner=BallotBox, name="next", make=_forget_highest),
        ),
    ),
    Planted(
        name="ballots mixed",
        description="parts of one ballot are read into the exchange of another",
        breaks=("I1", "I2", "I8", "failure"),
        patches=(
            Patch(owner=Attempts, name="room", make=_of_any_ballot),
            Patch(owner=Attempts, name="abort", make=lambda before: lambda self, attempt: None),
        ),
    ),
    Planted(
        name="ready ignored",
        description="tensor bytes are sent before the receiver said that it has room",
        breaks=("I1",),
        patches=(Patch(owner=Exchange, name="start", make=_before_ready),),
    ),
    Planted(
        name="leader never replaced",
        description="a line goes on waiting for a leader that is gone",
        breaks=("I5", "I6", "I4"),
        patches=(Patch(owner=Leadership, name="leader", make=_never_replaced),),
    ),
    Planted(
        name="nobody is awaited",
        description="a leader proposes with whoever is there first",
        breaks=("I6",),
        patches=(Patch(owner=Leadership, name="lead", make=_at_once),),
    ),
    Planted(
        name="said too often",
        description="who is here says so 25 times",
        breaks=("I7",),
        patches=(Patch(owner=Reports, name="here", make=_said_often),),
    ),
    Planted(
        name="one seat of two weighed",
        description="a member that plays two cells of a line counts with the weight of the first",
        breaks=("I2",),
        patches=(Patch(owner=exchange, name="weight_of", make=_first_seat_only),),
    ),
)
