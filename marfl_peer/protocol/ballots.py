"""What a member has promised and completed on one line: the part of matchmaking that agreement (I1) rests on.

Ballots are totally ordered by (attempt, leader id). A member accepts only a ballot above every one it accepted, and
completes only the one it accepted last: so no two members complete different ballots without losing contact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from marfl_peer.ids import PeerId
from marfl_peer.protocol.messages import Ballot

MAX_ATTEMPT = 10_000
"""No honest line comes near it; without a bound one message could use up the numbers of a line."""


@dataclass(slots=True)
class BallotBox:
    """`promised`: the highest ballot accepted. `completed`: the ballot whose result is held. `holders`: who is known
    to hold which result. `proposers`: whose ballots were made or heard of. `liars`: whose results nobody wants."""

    promised: Ballot | None = None
    completed: Ballot | None = None
    highest_attempt: int = 0
    holders: dict[Ballot, set[PeerId]] = field(default_factory=dict)
    proposers: set[PeerId] = field(default_factory=set)
    liars: set[PeerId] = field(default_factory=set)

    def accept(self, ballot: Ballot) -> bool:
        """Promises `ballot` if it is above all accepted before and nothing is completed."""
        self.saw(ballot)
        if (
            ballot.attempt > MAX_ATTEMPT
            or self.completed is not None
            or (self.promised is not None and ballot <= self.promised)
        ):
            return False
        self.promised = ballot
        return True

    def saw(self, ballot: Ballot | None) -> None:
        """Remembers the attempt, so that the next one proposed here is above it."""
        if ballot is not None and ballot.attempt < MAX_ATTEMPT:
            self.highest_attempt = max(self.highest_attempt, ballot.attempt)
            self.proposers.add(PeerId(ballot.leader))

    def next(self, leader: PeerId) -> Ballot:
        """A ballot above every one seen here."""
        self.highest_attempt += 1
        self.proposers.add(leader)
        return Ballot(attempt=self.highest_attempt, leader=leader)

    def complete(self, ballot: Ballot, me: PeerId) -> None:
        self.saw(ballot)
        self.completed = ballot
        self.holds(ballot, me)

    def holds(self, ballot: Ballot, peer: PeerId) -> None:
        """`peer` holds the result of `ballot`, and of no other."""
        self.saw(ballot)
        for peers in self.holders.values():
            peers.discard(peer)
        self.holders.setdefault(ballot, set()).add(peer)

    def all_holders(self) -> set[PeerId]:
        return {peer for peers in self.holders.values() for peer in peers}

    def best(self, gone: set[PeerId]) -> tuple[Ballot, tuple[PeerId, ...]] | None:
        """The highest completed ballot that a live peer holds, with those that hold it.

        Who sent values that are no numbers may have completed the ballot itself, and is no witness of its result.
        """
        for ballot in sorted(self.holders, reverse=True):
            sources = tuple(sorted(self.holders[ballot] - gone - self.liars))
            if sources:
                return ballot, sources
        return None
