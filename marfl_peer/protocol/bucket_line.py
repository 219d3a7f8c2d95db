"""One bucket's group in one round: a line whose peers nobody lists. They are those who announced themselves, and those
who speak: a hash says who may.

Look-ups may differ, so there may be two leaders, and two groups of one bucket. A result concerns only those whom its
ballot names: for the others its members have gone their own way. And who exchanges under a ballot leaves it only for
one that can complete only if it did not: so nobody's value is counted in two groups, and none is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from marfl_peer.config import MAX_GROUP_SIZE
from marfl_peer.ids import PeerId
from marfl_peer.protocol.hashed import seat_number
from marfl_peer.protocol.instructions import FetchResult, FinishLine, Instruction, OpenExchange, Send
from marfl_peer.protocol.lines import Line
from marfl_peer.protocol.matchmaking import Matchmaking
from marfl_peer.protocol.messages import (
    Ballot,
    CannotPlay,
    Done,
    Have,
    Here,
    LineMessage,
    LineName,
    Member,
    Propose,
    Seat,
    Take,
)
from marfl_peer.protocol.phases import Phase
from marfl_peer.protocol.speeds import Speeds


class BucketLine:
    """`belongs(peer)`: whether the hash puts a peer here. `is_entered`: this peer is here, its look-up is over."""

    def __init__(
        self,
        me: PeerId,
        name: LineName,
        *,
        view_digest: str,
        belongs: Callable[[PeerId], bool],
        speeds: Speeds | None = None,
    ) -> None:
        self.name = name
        self.is_entered = False
        self._me, self._belongs = me, belongs
        self._joined: dict[Ballot, tuple[Member, ...]] = {}
        self._apart: set[PeerId] = set()
        self._gone: set[PeerId] = set()
        self._line = Line(name=name, view_digest=view_digest, players={seat_number(me): me})
        self.matchmaking = Matchmaking(me, self._line, speeds=speeds)

    @property
    def peers(self) -> list[PeerId]:
        """Everybody that is known to belong here, this peer among them, ascending."""
        return sorted(self._line.peers)

    def members_of(self, ballot: Ballot) -> tuple[Member, ...]:
        """Of a ballot that this peer exchanged under. Raises: KeyError for any other."""
        return self._joined[ballot]

    # what happens

    def enter(self, seat: Seat, found: Iterable[PeerId], *, update_s: float, now: float) -> list[Instruction]:
        """This peer is here, and found these in the DHT. All are told, not only who leads: look-ups may differ."""
        self._know(found)
        self.is_entered = True
        steps = self._noted(self.matchmaking.arrive(seat, update_s=update_s, now=now), now)
        told = {step.to for step in steps if isinstance(step, Send)} | self._apart | {self._me}
        here = self.matchmaking.here()
        return steps + [Send(to=peer, message=here) for peer in self.peers if peer not in told]

    def heard(self, sender: PeerId, message: LineMessage, *, now: float) -> list[Instruction]:
        """Nothing where the sender, or anybody that it names, does not belong here."""
        named = [PeerId(member.peer_id) for member in message.members] if isinstance(message, Propose) else []
        if not self._know([sender, *named]) or sender in self._apart:
            return []
        completed = self.matchmaking.ballots.completed
        match message:
            case Have() | Done() | Take() if not self._concerns(message.completed):
                return self._go_apart(sender, now)
            case Here() | Propose() if completed is not None and sender not in self._named_in(completed):
                done = Done(name=self.name, completed=completed)
                return [Send(to=sender, message=done), *self._go_apart(sender, now)]
            case Propose() if self._would_be_counted_twice(sender, message):
                return [Send(to=sender, message=CannotPlay(name=self.name, cell=seat_number(self._me)))]
            case _:
                self._gone.discard(sender)
                steps = self._noted(self.matchmaking.heard(sender, message, now=now), now)
        if isinstance(message, Have | Done) and self.matchmaking.phase is Phase.EXCHANGING:
            steps += self._take_if_abandoned(sender, message.completed, now)
        return steps

    def gone(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """`peer` is lost or has left."""
        self._gone.add(peer)
        return self._noted(self.matchmaking.gone(peer, now=now), now)

    def back(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """`peer` can be reached again."""
        self._gone.discard(peer)
        return [] if peer in self._apart else self._noted(self.matchmaking.back(peer, now=now), now)

    def interrupted(self, peer: PeerId, *, now: float) -> list[Instruction]:
        """What was said last, to `peer` or by it, may be lost."""
        return [] if peer in self._apart else self._noted(self.matchmaking.interrupted(peer, now=now), now)

    def tick(self, *, now: float) -> list[Instruction]:
        return self._noted(self.matchmaking.tick(now=now), now)

    def exchanged(self, ballot: Ballot, *, now: float) -> list[Instruction]:
        return self._noted(self.matchmaking.exchanged(ballot, now=now), now)

    def fetched(self, ballot: Ballot, members: tuple[PeerId, ...], *, now: float) -> list[Instruction]:
        return self._noted(self.matchmaking.fetched(ballot, members, now=now), now)

    def fetch_failed(self, *, now: float) -> list[Instruction]:
        return self._noted(self.matchmaking.fetch_failed(now=now), now)

    def blame(self, ballot: Ballot, culprit: PeerId, *, now: float) -> list[Instruction]:
        return self._noted(self.matchmaking.blame(ballot, culprit, now=now), now)

    # who belongs to whom

    def _know(self, peers: Iterable[PeerId]) -> bool:
        """Whether all `peers` have a seat here. Where two have the same number, once in 2^31, the first has it."""
        known, players = True, self._line.players
        for peer in sorted(peers):
            seat = seat_number(peer)
            if seat not in players and len(players) < MAX_GROUP_SIZE and self._belongs(peer):
                self._line.seat(seat, peer)
            known = known and players.get(seat) == peer
        return known

    def _would_be_counted_twice(self, sender: PeerId, proposal: Propose) -> bool:
        """Whether another ballot that names this peer may be complete elsewhere, and this one may still become so.

        Who completed a ballot is never ready for another: so not if all members of the one are in the other. For its
        own ballots a leader vouches.
        """
        if self.matchmaking.phase is Phase.FETCHING:
            return True
        there = {member.peer_id for member in proposal.members} | self._gone | self._apart
        others = [ballot for ballot in self._joined if ballot.leader != sender]
        return any(not there.issuperset(self._named_in(ballot)) for ballot in others)

    def _take_if_abandoned(self, holder: PeerId, completed: Ballot, now: float) -> list[Instruction]:
        """A ballot that this peer has left since was completed nevertheless, with its value in it: that counts."""
        if completed == self.matchmaking.ballots.promised:
            return []
        take = Take(name=self.name, completed=completed, sources=(holder,))
        return self._noted(self.matchmaking.heard(holder, take, now=now), now)

    def _concerns(self, ballot: Ballot) -> bool:
        """Whether this peer is in a ballot, or leads it without being here itself."""
        return ballot in self._joined or ballot.leader == self._me

    def _named_in(self, ballot: Ballot) -> list[str]:
        return [member.peer_id for member in self._joined[ballot]]

    def _go_apart(self, peer: PeerId, now: float) -> list[Instruction]:
        """`peer` is in another group, now and for the rest of this round."""
        self._apart.add(peer)
        return self._noted(self.matchmaking.gone(peer, now=now), now)

    def _noted(self, steps: list[Instruction], now: float) -> list[Instruction]:
        """Remembers whom ballots name; whoever is not in the one that is completed goes apart, this peer, too."""
        more: list[Instruction] = []
        for step in steps:
            match step:
                case FetchResult() if step.ballot not in self._joined:
                    for peer in step.sources:
                        more += self._go_apart(peer, now)
                    more += self._noted(self.matchmaking.fetch_failed(now=now), now)
                case OpenExchange():
                    self._joined[step.ballot] = step.members
                case FinishLine() if step.ballot is not None:
                    named = self._named_in(step.ballot)
                    for peer in [peer for peer in self.peers if peer not in named]:
                        more += self._go_apart(peer, now)
                case _:
                    pass
        mine = [step for step in steps if not isinstance(step, FetchResult) or step.ballot in self._joined]
        return mine + more
