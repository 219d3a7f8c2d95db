"""The merges of this peer's part of the swarm with others: those that it heard of, and what counts until they are over.

The rules are those of `protocol.merging`; who is to be believed and who is told is the roster's business.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from marfl_peer.ids import PeerId
from marfl_peer.protocol.merging import Era, Merge, merge_event, merge_of
from marfl_peer.protocol.view import EFFECT_DELAY, Membership, MembershipEvent

RECENT_ITERATIONS = 8
"""How long after a merge its news go on being told with all others, and what comes with them is believed."""


class Parts:
    """`incarnation()` is this peer's own; no merge leads beyond `last_iteration`."""

    def __init__(self, *, me: PeerId, incarnation: Callable[[], int], last_iteration: int) -> None:
        self._me, self._incarnation, self._last_iteration = me, incarnation, last_iteration
        self._era = Era()
        self._merges: list[Merge] = []
        self._events: list[MembershipEvent] = []
        self._heard_in = 0

    # what there is

    def counting(self, iteration: int, membership: Membership) -> Membership:
        """The events that count in an iteration: before a merge those of this part, else all of `membership`."""
        return self._era.at(iteration) or membership

    def ahead(self, iteration: int) -> Merge | None:
        """The last of the merges, if its first common iteration is to come."""
        return self._merges[-1] if self._merges and self._merges[-1].first > iteration else None

    def is_merging(self, iteration: int) -> bool:
        """Whether the first common iteration of a merge is to come, or runs."""
        return bool(self._merges) and self._merges[-1].first >= iteration

    def side(self, members: Collection[PeerId]) -> int:
        """Where the part with these members was when it met another; the last meeting counts."""
        sides = [side for merge in self._merges if (side := merge.side(members)) is not None]
        return max(sides, default=self._heard_in)

    def recent(self, iteration: int) -> list[MembershipEvent]:
        """The merges that go with every message: news of another part must not come before the news of the merge."""
        self._events = [event for event in self._events if iteration < event.effective + RECENT_ITERATIONS]
        return self._events

    # what comes in

    def is_believable(self, event: MembershipEvent) -> bool:
        """Whether a merge is within the run. Raises: RemoteProtocolError for one that does not fit together."""
        return merge_of(event).first <= self._last_iteration

    def concern(self, merges: Iterable[MembershipEvent], *, iteration: int, members: Collection[PeerId]) -> bool:
        """Whether the part with these members merges in one of those that another part told of. A merge of two others
        is none of its business before it is over: it has the time that those two need, not the time of a third."""
        return any(
            event.effective >= iteration if event in self._events else merge_of(event).side(members) is not None
            for event in merges
        )

    def meeting(self, iteration: int, other: PeerId, other_iteration: int) -> list[MembershipEvent]:
        """The merge that this peer states where it meets a member of another part; none if the run ends before."""
        other_iteration = min(other_iteration, self._last_iteration)
        event = merge_event(
            self._me, self._incarnation(), iteration=iteration, other=other, other_iteration=other_iteration
        )
        return [event] if self.is_believable(event) else []

    @staticmethod
    def come_too_early(merges: Iterable[MembershipEvent], iteration: int) -> bool:
        """Whether a part that is in this iteration could not hear of these merges in time."""
        firsts = [event.effective for event in merges]
        return bool(firsts) and max(firsts) < iteration + EFFECT_DELAY

    def begin(self, merges: Iterable[MembershipEvent], *, since: int, iteration: int, membership: Membership) -> None:
        """These merges became known: until `since`, where that is to come, what counts now goes on counting."""
        for event in merges:
            if not self.is_merging(iteration):
                self._merges, self._heard_in = [], iteration
            self._merges = sorted([*self._merges, merge_of(event)], key=lambda merge: (merge.first, merge.met))
            self._events.append(event)
            if since > iteration:
                self._era.end(iteration)
                self._era.begin(since, membership)

    def add(self, events: Iterable[MembershipEvent]) -> None:
        """News of this part alone."""
        self._era.add(events)


def merges_among(events: Iterable[MembershipEvent]) -> list[MembershipEvent]:
    return [event for event in events if event.kind == "merged"]
