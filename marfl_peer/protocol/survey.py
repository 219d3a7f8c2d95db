"""Whom a peer that is behind asks for the agreed state, and which of the offers it takes.

Asked are a few at once; further ones where the answers do not suffice; and where all offer states of different
iterations, because the swarm goes on, all of them again for one that is still to come: everybody passes it.
Knows offers and times; not how a state gets here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from marfl_peer.ids import PeerId
from marfl_peer.protocol.messages import StateOffer
from marfl_peer.protocol.votes import Candidate, candidate_of, elect

ASKED_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A state of iteration `at_least`; none is later than that of `last`. `sources` are asked in this order.

    `digest`, where not empty, is what the state of `at_least` must have: the swarm was founded with it. Else the
    members vote, of whom those count that `counts` knows to be there.
    """

    at_least: int
    last: int
    sources: Sequence[PeerId]
    digest: str = ""
    counts: Callable[[PeerId], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Ask this peer for its state of that iteration or later."""

    to: PeerId
    at_least: int


class Survey:
    """`patience_s`: how long those asked may be silent, after the question and after the first answer."""

    def __init__(self, wish: Wish, *, patience_s: float, now: float) -> None:
        self._wish, self._patience_s = wish, patience_s
        self._at_least = wish.at_least
        self._tries = 0
        self._awaited: dict[PeerId, None] = {}
        self._asked: dict[PeerId, None] = {}
        self._out: dict[PeerId, None] = {}
        self._gone: dict[PeerId, None] = {}
        self._returned: dict[PeerId, None] = {}
        self._offers: dict[PeerId, StateOffer] = {}
        self._patient_until = now
        self._is_answered = self._is_reminded = False

    # what happens

    def offered(self, peer: PeerId, offer: StateOffer) -> None:
        """An answer, whose signature was checked. What nobody asked for does not count."""
        if peer in self._asked and not self.is_out(peer) and self._at_least <= offer.iteration <= self._wish.last:
            self._awaited.pop(peer, None)
            self._offers[peer] = offer

    def exclude(self, peer: PeerId) -> bool:
        """This peer gives nothing, or lies: it is neither asked nor believed any more. False where it was so."""
        is_news = peer not in self._out
        self._out[peer] = None
        self._awaited.pop(peer, None)
        self._offers.pop(peer, None)
        return is_news

    def gone(self, peer: PeerId) -> None:
        """This peer cannot be reached; what it was asked or answered may be lost."""
        self._gone[peer] = None
        self._returned.pop(peer, None)
        self._awaited.pop(peer, None)
        self._offers.pop(peer, None)

    def back(self, peer: PeerId) -> None:
        """It can be reached again: if it was asked before, it is to be asked again."""
        if peer in self._gone:
            del self._gone[peer]
            if peer in self._asked:
                self._returned[peer] = None

    # what follows

    def choice(self, *, now: float) -> Candidate | None:
        """The state to take, if the answers suffice."""
        if self._wish.digest:
            wished = (self._wish.at_least, self._wish.digest)
            found = (candidate_of(offer) for _, offer in sorted(self._offers.items()))
            match = next((candidate for candidate in found if candidate[:2] == wished), None)
            if match is not None:
                return match
        # What the swarm was founded with nobody has to vote on; what came after it, if it is that late, they do.
        after = self._wish.at_least if self._wish.digest else -1
        offers = {peer: offer for peer, offer in self._offers.items() if offer.iteration > after}
        elected = elect(offers, counts=self._wish.counts)
        if elected is None:
            return None
        candidate, votes = elected
        # Those who have not answered yet cannot outvote it, or had their time.
        is_settled = 2 * votes > len(self._offers) + len(self._awaited)
        return candidate if is_settled or not self._awaited or now >= self._patient_until else None

    def holders(self, candidate: Candidate) -> list[PeerId]:
        """Who offers this very state."""
        return [peer for peer, offer in sorted(self._offers.items()) if candidate_of(offer) == candidate]

    def group_of(self, candidate: Candidate) -> tuple[PeerId, ...]:
        """The largest group that its holders name."""
        groups = [self._offers[peer].group for peer in self.holders(candidate)]
        return tuple(PeerId(member) for member in max(groups, key=lambda group: (len(group), group), default=()))

    def questions(self, *, now: float) -> list[Question]:
        """Whom to ask now; call it where there is no choice."""
        returned = [peer for peer in self._returned if not self.is_out(peer)]
        self._returned.clear()
        if returned:
            self._awaited.update(dict.fromkeys(returned))
            return [Question(to=peer, at_least=self._at_least) for peer in returned]
        if self._offers and not self._is_answered:
            # The first that comes to a state offers it; the others come to it soon, and only now are they silent.
            self._is_answered, self._patient_until = True, now + self._patience_s
        is_patient = now < self._patient_until
        if self._awaited and is_patient:
            return []
        fresh = [peer for peer in self._candidates() if peer not in self._asked and not self.is_out(peer)]
        again: list[PeerId] = []
        if not fresh:
            silent = [] if self._is_reminded else self._silent_witnesses()
            if silent:
                # They hold what the others offer: perhaps the question was lost with a connection that broke.
                self._is_reminded, self._patient_until = True, now + self._patience_s
                return [Question(to=peer, at_least=self._at_least) for peer in silent]
            later = self._later()
            if later <= self._at_least and is_patient:
                return []
            again = [peer for peer in self._asked if not self.is_out(peer)]
            self._at_least = max(self._at_least, later)
            self._offers.clear()
            self._is_answered = self._is_reminded = False
        whom = fresh[:ASKED_AT_ONCE] or again
        for peer in whom:
            self._asked[peer] = self._awaited[peer] = None
        self._patient_until = now + self._patience_s
        return [Question(to=peer, at_least=self._at_least) for peer in whom]

    def next_deadline(self) -> float:
        """When to look again though nothing happened."""
        return self._patient_until

    def is_out(self, peer: PeerId) -> bool:
        """Whether nothing is to be had from this peer, for good or for now."""
        return peer in self._out or peer in self._gone

    @property
    def is_hopeless(self) -> bool:
        """Whether everybody who could be asked is out."""
        return all(self.is_out(peer) for peer in (*self._candidates(), *self._asked))

    @property
    def asked(self) -> list[PeerId]:
        return list(self._asked)

    def _candidates(self) -> list[PeerId]:
        """Those to ask: the sources, and the members of groups that they name."""
        named = [PeerId(member) for _, offer in sorted(self._offers.items()) for member in offer.group]
        return list(dict.fromkeys([*self._wish.sources, *(peer for peer in named if self._wish.counts(peer))]))

    def _silent_witnesses(self) -> list[PeerId]:
        """Those that are awaited and were in a group that an offer names."""
        named = {member for offer in self._offers.values() for member in offer.group}
        return [peer for peer in self._awaited if peer in named and not self.is_out(peer)]

    def _later(self) -> int:
        """An iteration that most of those who answered are still to pass."""
        if not self._offers:
            return self._at_least
        iterations = sorted(offer.iteration for offer in self._offers.values())
        self._tries = min(self._tries + 1, 16)
        return min(iterations[len(iterations) // 2] + (1 << self._tries - 1), self._wish.last)
