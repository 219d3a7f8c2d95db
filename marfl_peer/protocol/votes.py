"""Which of the states that a peer was offered is the agreed one: that which most of the group that made it signed.

Every member of a group that exchanged in the last round holds the same state, and signs what it holds when it is asked.
The members of a group that count are those that this peer does not know to be lost or gone; more than half of them must
have signed the same, so a group of which one member is left is its own majority. Of several such states that with the
most signatures is taken, since anybody can claim to be a group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from marfl_peer.ids import PeerId
from marfl_peer.protocol.messages import StateOffer

CONTEXT = b"marfl-peer state 1"
Candidate = tuple[int, str, tuple[int, ...]]
"""(iteration, digest, maxima): what two offers of one state have in common."""


def statement(run_id: str, offer: StateOffer) -> bytes:
    """What the sender of an offer signs."""
    maxima = " ".join(map(str, offer.maxima))
    parts = (run_id, str(offer.iteration), str(offer.vector_bytes), offer.digest, maxima, " ".join(offer.group))
    return "\n".join(parts).encode()


def candidate_of(offer: StateOffer) -> Candidate:
    return offer.iteration, offer.digest, offer.maxima


def elect(offers: Mapping[PeerId, StateOffer], *, counts: Callable[[PeerId], bool]) -> tuple[Candidate, int] | None:
    """The state that a majority of its group signed, with the number of its signatures; None while there is none.

    `offers` are checked and of one peer each; `counts` tells whether a peer is in the swarm, as far as is known.
    """
    signers: dict[Candidate, list[PeerId]] = {}
    for peer, offer in sorted(offers.items()):
        signers.setdefault(candidate_of(offer), []).append(peer)
    elected: list[tuple[int, int, Candidate]] = []
    for candidate, peers in signers.items():
        groups = sorted({offers[peer].group for peer in peers})
        votes = [signed for group in groups if (signed := _majority(group, peers, counts)) is not None]
        if votes:
            elected.append((max(votes), len(peers), candidate))
    if not elected:
        return None
    votes_most = max((own, all_of_them, candidate[0]) for own, all_of_them, candidate in elected)
    best = min(candidate for own, more, candidate in elected if (own, more, candidate[0]) == votes_most)
    return best, votes_most[1]


def _majority(group: tuple[str, ...], signers: list[PeerId], counts: Callable[[PeerId], bool]) -> int | None:
    """How many members of a group signed, if they are most of those that count."""
    voters = [PeerId(member) for member in group if counts(PeerId(member))]
    signed = sum(member in signers for member in voters)
    if not voters:
        return 0  # nobody of it is left: whoever holds the state is its only witness
    return signed if 2 * signed > len(voters) else None
