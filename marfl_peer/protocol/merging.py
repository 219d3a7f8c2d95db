"""Two parts of one swarm that found each other: with which iteration they become one, and what counts until then.

A merge is an event among the membership events, so that all who know the same events know the same merges. Until its
first common iteration each part goes on with the view that it had; from there on the view is one of all events.
Which events are to be believed is not decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import msgspec

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import Iteration, PeerId
from marfl_peer.protocol.records import Counter, PeerIdText, unpack
from marfl_peer.protocol.view import EFFECT_DELAY, Membership, MembershipEvent

MERGE_DELAY = 3
"""Iterations from the meeting to the first common one. One more than other news take: the members of each part hear
first that the other thinks them lost, and then all have to hear that they deny it."""
_MAX_BYTES = 256


class _Meeting(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The event's peer was in `iteration` when it met `other`, which was in `other_iteration`."""

    iteration: Counter
    other: PeerIdText
    other_iteration: Counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Two parts are one from iteration `first` on; `met` are the peers that met, with the iterations they were in."""

    first: Iteration
    met: tuple[tuple[PeerId, int], tuple[PeerId, int]]

    def side(self, members: Collection[PeerId]) -> int | None:
        """Where the part was, whose `members` these are, when the two met; None if it is none of the two parts."""
        return next((iteration for peer, iteration in self.met if peer in members), None)

    def following(self, finished: int, side: int) -> Iteration:
        """The iteration to go on with. The part that is behind, too, has the time that its members need to hear of
        the merge; then it leaves numbers out, so that both parts come to `first` from the iteration before."""
        if finished > side and finished + 2 < self.first:
            return Iteration(self.first - 1)
        return Iteration(finished + 1)

    def steps(self, running: int, iteration: int, side: int) -> int:
        """How many iterations there are from the one that runs to another, without those that are left out.

        To the first common one it is one step at most: the other part comes there without waiting for this one.
        """
        if iteration == self.first and running < iteration:
            return 1
        if running < self.first - 1 <= iteration:
            return max(side + 1 - running, 0) + 1 + iteration - (self.first - 1)
        return iteration - running


def merge_event(
    peer: PeerId, incarnation: int, *, iteration: int, other: PeerId, other_iteration: int
) -> MembershipEvent:
    """What `peer` states when it meets a member of another part: a function of where the two are."""
    meeting = _Meeting(iteration=iteration, other=other, other_iteration=other_iteration)
    return MembershipEvent(
        peer_id=peer,
        incarnation=incarnation,
        kind="merged",
        iteration=max(iteration, other_iteration) + MERGE_DELAY - EFFECT_DELAY,
        record=msgspec.msgpack.encode(meeting),
    )


def merge_of(event: MembershipEvent) -> Merge:
    """What the event of a merge says. Raises: RemoteProtocolError `bad_merge` if that does not fit together."""
    raw = unpack(event.record, max_bytes=_MAX_BYTES, code="bad_merge")
    try:
        meeting = msgspec.convert(raw, _Meeting)
    except msgspec.ValidationError as error:
        raise RemoteProtocolError("bad_merge", f"not a meeting: {error}") from error
    other = PeerId(meeting.other)
    stated = merge_event(
        event.peer_id,
        event.incarnation,
        iteration=meeting.iteration,
        other=other,
        other_iteration=meeting.other_iteration,
    )
    if other == event.peer_id or stated != event:
        raise RemoteProtocolError("bad_merge", "a merge that is not what the meeting leads to")
    return Merge(
        first=event.effective,
        met=((event.peer_id, meeting.iteration), (other, meeting.other_iteration)),
    )


class Era:
    """The events that count before a merge to come: what the other part brings changes none of the iterations until
    then. While it lasts further merges only make it longer, so that those who hear of some of them earlier agree with
    those who hear of them later."""

    def __init__(self) -> None:
        self._until = 0
        self._membership: Membership | None = None

    def begin(self, until: int, membership: Membership) -> None:
        """The iterations before `until` keep what counts for them now."""
        self._until = max(self._until, until)
        if self._membership is None:
            self._membership = membership.copy()

    def add(self, events: Iterable[MembershipEvent]) -> None:
        """Takes in events of this part of the swarm."""
        if self._membership is not None:
            self._membership.add(events)

    def at(self, iteration: int) -> Membership | None:
        """What counts in an iteration; None where all that is known does."""
        return self._membership if iteration < self._until else None

    def end(self, iteration: int) -> None:
        """Forgets what is over in this iteration."""
        if self._until <= iteration:
            self._until, self._membership = 0, None
