"""Who belongs to the swarm, as this peer knows it: hears, believes, floods and states membership events.

The rules are `protocol.view`'s; here they meet signed records, connections and this peer's own life.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from marfl_peer.clock import Clock
from marfl_peer.errors import MarflError, RemoteProtocolError
from marfl_peer.facts import MergeAgreed, PeerSeen, RemoteFault, Sink
from marfl_peer.ids import DhtKey, Iteration, PeerId, RunId, dht_key
from marfl_peer.network.links import Links
from marfl_peer.peer.gazette import batches, read_batch
from marfl_peer.peer.parts import Parts, merges_among
from marfl_peer.protocol import records
from marfl_peer.protocol.merging import Merge, merge_of
from marfl_peer.protocol.messages import Events
from marfl_peer.protocol.records import MemberBody, Record
from marfl_peer.protocol.view import EFFECT_DELAY, FOUNDING, Membership, MembershipEvent, MembershipKind, View

MEMBER_BUCKETS = 8
ACCUSED_AGAIN_S = 20.0
"""How long a peer that came back is not called lost again by the same peer: perhaps only these two cannot reach each
other, and each word against it costs all a new view."""


def member_key(run_id: RunId, peer_id: PeerId) -> DhtKey:
    """The bucket under which a member announces itself."""
    return bucket_key(run_id, bucket_of(peer_id))


def bucket_of(peer_id: PeerId) -> int:
    """Buckets follow the order of the ids."""
    return int(peer_id[:2], 16) * MEMBER_BUCKETS // 256


def bucket_key(run_id: RunId, bucket: int) -> DhtKey:
    return dht_key("member", run_id, bucket)


def read_member(run_id: RunId, encoded: bytes) -> tuple[Record, MemberBody]:
    """The checked member record in these bytes; an expired one is still true. Raises: RemoteProtocolError."""
    record = records.decode(encoded)
    peer_id = PeerId(record.peer_id)
    if record.key != member_key(run_id, peer_id):
        raise RemoteProtocolError("record_key", "a member record of another run or place")
    records.verify_signature(record)
    body = records.decode_body(record.body)
    if not isinstance(body, MemberBody):
        raise RemoteProtocolError("record_body", "not a member's record")
    return record, body


class Roster:
    """`iteration` is where this peer is: it dates what it sees. `last_iteration`: no merge leads beyond it.

    `incarnation()` is this peer's own.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        run_id: RunId,
        group_size: int,
        links: Links,
        clock: Clock,
        tell: Sink,
        on_news: Callable[[tuple[MembershipEvent, ...]], None],
        incarnation: Callable[[], int] = lambda: 0,
        last_iteration: int = 2**31,
        born: int = 0,
    ) -> None:
        """`born`: the incarnation with which this process began."""
        self.me, self.run_id = me, run_id
        self.iteration = Iteration(0)
        self.started = False
        self.membership = Membership()
        self.bodies: dict[PeerId, MemberBody] = {}
        self.records: dict[PeerId, bytes] = {}
        """Of those that accepted to found a swarm with this peer."""
        self._group_size = group_size
        self._links, self._tell, self._on_news = links, tell, on_news
        self._incarnations: dict[PeerId, int] = {}
        self._dial_only: set[PeerId] = set()
        self._clock, self._last_iteration = clock, last_iteration
        self._parts = Parts(me=me, incarnation=incarnation, last_iteration=last_iteration)
        self._others_iteration = 0
        self._accused_at: dict[PeerId, float] = {}
        self._born = born
        self._ways_in = {me}
        self._packed_of: tuple[tuple[MembershipEvent, ...], tuple[MembershipEvent, ...]] = (), ()
        self._packed = batches(())
        """All events of `_packed_of` as payloads."""
        self._silent_since: dict[PeerId, int] = {}
        """Whom this peer cannot hear, with the incarnation in which it was heard last."""

    @property
    def can_date(self) -> bool:
        """Whether this peer has begun an iteration. One that is still on its way in would date what it sees in the
        past, and change views that are in use; the others see it, too."""
        return self.started and self.iteration > 0

    def view(self, iteration: Iteration) -> View:
        view = self._counting(iteration).view(iteration, self._group_size)
        dial_only = frozenset(peer for peer in self._dial_only if peer in view.cell_of)
        return dataclasses.replace(view, dial_only=dial_only) if dial_only else view

    def _counting(self, iteration: int) -> Membership:
        return self._parts.counting(iteration, self.membership)

    def is_member(self, iteration: Iteration) -> bool:
        """Whether this life of the peer counts in an iteration: the seat of an earlier one is not its own."""
        return self.view(iteration).incarnations.get(self.me, -1) >= self._born

    def gone(self) -> list[PeerId]:
        """Members whose loss or leaving is known, whether it took effect yet or not."""
        counting = self._counting(self.iteration)
        latest = (counting.status(peer) for peer in self.bodies)
        return [event.peer_id for event in latest if event is not None and event.kind != "joined"]

    def is_there(self, peer: PeerId) -> bool:
        """Whether a peer joined, and neither left nor was lost as far as this peer knows."""
        return self._latest_kind(peer) == "joined"

    def is_reborn(self, peer: PeerId, view: View) -> bool:
        """Whether a member of this view was started again since, which counts in later views only. One that only denied
        its loss is the same that the view counts."""
        body, counted = self.bodies.get(peer), view.incarnations.get(peer)
        return body is not None and counted is not None and body.born > counted

    def dialled(self) -> list[tuple[PeerId, int]]:
        """The others that are there and listen, ascending, each with the incarnation in which it joined last."""
        there = [peer for peer in sorted(self.bodies) if peer != self.me and self.is_there(peer)]
        return [(peer, self._incarnations[peer]) for peer in there if peer not in self._dial_only]

    def lost(self) -> list[PeerId]:
        """Peers that are thought to be lost: they are remembered, ascending."""
        return [peer for peer in sorted(self.bodies) if self._latest_kind(peer) == "lost"]

    def seen(self) -> list[PeerId]:
        """The members of the view that runs, but for those that are known to be gone."""
        gone = set(self.gone())
        return [peer for peer in self.view(Iteration(max(self.iteration, 1))).members if peer not in gone]

    def ever_known(self) -> list[PeerId]:
        """Everybody who ever joined and did not leave on purpose, ascending."""
        return [peer for peer in sorted(self.bodies) if self._latest_kind(peer) in ("joined", "lost")]

    def _latest_kind(self, peer: PeerId) -> MembershipKind | None:
        status = self.membership.status(peer)
        return None if status is None else status.kind

    def own_status(self) -> MembershipEvent | None:
        return self.membership.status(self.me)

    def merge_ahead(self) -> Merge | None:
        """The last of the merges that are to come."""
        return self._parts.ahead(self.iteration)

    def is_merging(self) -> bool:
        """Whether the first common iteration of a merge is to come, or runs."""
        return self._parts.is_merging(self.iteration)

    def side(self) -> int:
        """Where this peer's part of the swarm was when it met another one."""
        return self._parts.side(self.view(self.iteration).cell_of)

    def dating(self) -> int:
        """The iteration that what is seen now is dated with: it changes no view from before a merge."""
        merge = self.merge_ahead()
        return max(self.iteration, 1 if merge is None else merge.first - EFFECT_DELAY)

    def own_dating(self) -> int:
        """The same for what this peer says of itself: others may be ahead of it, and have to hear of it in time."""
        return max(self.dating(), self._others_iteration)

    def is_elsewhere(self, iteration: int) -> None:
        """Another peer of this view is in that iteration."""
        self._others_iteration = max(self._others_iteration, min(iteration, self._last_iteration))

    def is_stranger(self, peer: PeerId) -> bool:
        """Whether a peer belongs to no view that this peer knows of, now or soon."""
        status = self.membership.status(peer)
        if self.iteration == 0 or (status is not None and status.kind == "joined"):
            return False
        return peer not in self.view(self.iteration).cell_of

    def is_running(self) -> bool:
        """Whether this peer is in a view that runs."""
        return self.started and self.iteration > 0 and self.is_member(self.iteration)

    def addresses(self) -> list[tuple[str, int]]:
        """Where the other members are reached, in the order of their ids."""
        others = (body for peer, body in sorted(self.bodies.items()) if peer != self.me)
        return [address for body in others if (address := body.address) is not None]

    def known_addresses(self) -> list[tuple[str, int]]:
        """Where peers are reached, whatever became of them."""
        return [address for _, body in sorted(self.bodies.items()) if (address := body.address) is not None]

    def rows(self, view: View) -> list[dict[str, object]]:
        """The members of a view for whoever asks, as plain JSON types."""
        rows: list[dict[str, object]] = []
        for peer in view.members:
            body, latest = self.bodies.get(peer), self.membership.status(peer)
            rows.append(
                {
                    "peer_id": peer,
                    "address": f"{body.host}:{body.port}" if body is not None and body.address is not None else "",
                    "dial_only": peer in self._dial_only,
                    "status": latest.kind if latest is not None else "unknown",
                    "connected": peer == self.me or self._links.is_connected(peer),
                }
            )
        return rows

    # on the way in

    def enter_by(self, peer: PeerId) -> None:
        """`peer` is to let this one into its swarm: what was heard of another swarm, which may be no more, counts there
        in nobody's view, and is forgotten."""
        if not self.started:
            self._ways_in = {peer}
            self.membership = Membership()

    def hear_also(self, peer: PeerId) -> None:
        """`peer` passes on the events of the one that is to let this peer in."""
        if not self.started:
            self._ways_in.add(peer)

    # what this peer states

    def state_joined(self, encoded: bytes, iteration: int) -> MembershipEvent:
        """A peer (this one, or one that asked us) joins. Raises: RemoteProtocolError for a record that is not valid."""
        record, _ = read_member(self.run_id, encoded)
        event = MembershipEvent(
            peer_id=PeerId(record.peer_id),
            incarnation=record.incarnation,
            kind="joined",
            iteration=iteration,
            record=encoded,
        )
        self._take([event], source=None, reason="asked to join")
        return event

    def state_gone(self, peer: PeerId, kind: MembershipKind, reason: str) -> None:
        """A member is lost, or this peer leaves. Nothing where that is known already."""
        latest = self.membership.status(peer)
        if latest is None or latest.kind != "joined" or not (self.can_date or peer == self.me):
            return
        if kind == "lost":
            now, accused_at = self._clock.now(), self._accused_at.get(peer)
            if accused_at is not None and now < accused_at + ACCUSED_AGAIN_S:
                return
            # It has denied its loss since then: others accused it earlier, and it lives.
            if self._silent_since.pop(peer, latest.incarnation) < latest.incarnation:
                return
            self._accused_at[peer] = now
        # Nobody goes before it came: that dates the leaving of one that is still on its way in.
        iteration = max(self.dating(), latest.iteration, 1)
        event = MembershipEvent(
            peer_id=peer, incarnation=latest.incarnation, kind=kind, iteration=iteration, record=b""
        )
        self._take([event], source=None, reason=reason)

    def state_merge(self, other: PeerId, other_iteration: int) -> None:
        """This peer, in a view that runs, met a member of another one, which is in that iteration. Nothing where the
        run ends before both could be one."""
        merges = self._parts.meeting(self.iteration, other, other_iteration)
        if merges:
            self._take(merges, source=None, reason="met another part of the swarm")
            self.send_all(other, answer_wanted=True)

    def send_all(self, peer: PeerId, *, answer_wanted: bool = False) -> None:
        """Everything known, to one peer."""
        payloads = self._everything()
        for index, payload in enumerate(payloads):
            last = index == len(payloads) - 1
            self._links.send(peer, self._header(answer_wanted=answer_wanted and last), payload)

    def _everything(self) -> list[bytes]:
        """All events as payloads, made once for all who are sent the same: a founder sends it to many at a time."""
        known = self.membership.events(), tuple(self._parts.recent(self.iteration))
        if known != self._packed_of:
            self._packed_of, self._packed = known, batches(*known)
        return self._packed

    def silent(self, peer: PeerId) -> None:
        """This peer cannot hear another one any more, which may be lost."""
        latest = self.membership.status(peer)
        if latest is not None:
            self._silent_since.setdefault(peer, latest.incarnation)

    def met(self, peer: PeerId) -> None:
        """A connection to a peer is there: it hears what is to count soon. The flood of it reached those who were
        connected then; what counts already would show by the digests of the views."""
        self._silent_since.pop(peer, None)
        coming = [event for event in self.membership.events() if event.effective > self.iteration]
        if self.can_date and coming:
            for payload in batches(coming, self._parts.recent(self.iteration)):
                self._links.send(peer, self._header(), payload)

    def _header(self, *, answer_wanted: bool = False, since: int = 0) -> Events:
        merges = self._parts.recent(self.iteration)
        since = max([since, *(event.effective for event in merges)])
        return Events(answer_wanted=answer_wanted, iteration=max(self.iteration, 0), since=since)

    # what others state

    def heard(self, sender: PeerId, message: Events, payload: memoryview) -> None:
        """Raises: RemoteProtocolError for events that are not what they should be."""
        if not self.started and sender not in self._ways_in:
            return
        was_stranger = self.is_stranger(sender)
        if not was_stranger:
            self.is_elsewhere(message.iteration)
        news = self._take(read_batch(payload), source=sender, reason=f"heard from {sender[:8]}", header=message)
        if was_stranger and merges_among(news):
            # Several may have been stated at once: each part hears the events of all others.
            self.send_all(sender, answer_wanted=True)
        elif message.answer_wanted:
            self.send_all(sender)

    def _take(
        self, events: list[MembershipEvent], *, source: PeerId | None, reason: str, header: Events | None = None
    ) -> tuple[MembershipEvent, ...]:
        # What is known already was checked when it came first: in a flood most copies are such.
        unknown = [event for event in events if not self._is_known(event)]
        is_strange = source is not None and self.is_stranger(source)
        # With a stranger's events those that are known say whether the others are of any concern.
        told = self._readable_merges(events if is_strange else unknown, source)
        if source is not None and is_strange and not self._concern(told):
            unknown = self._of_itself(unknown, source, header)
        merges = self._believed_merges([event for event in told if event in unknown], source, header)
        since = self._since(merges, header)
        if self.started:
            self._parts.begin(merges, since=since, iteration=self.iteration, membership=self.membership)
        # Joinings first: a loss is believed of those who joined, and a newcomer hears of both in one message.
        news = self._add(merges, since)
        joinings = [event for event in unknown if event.kind == "joined" and self._is_believable(event, source)]
        news += self._add(joinings, since)
        others = [event for event in unknown if event.kind in ("left", "lost") and self._is_believable(event, source)]
        news += self._add(others, since)
        if news:
            for event in news:
                self._tell_of(event, reason)
            if self.started:
                for payload in batches(news, self._parts.recent(self.iteration)):
                    self._links.flood(self._header(since=since), payload, but=source)
            self._on_news(news)
        return news

    def _since(self, merges: list[MembershipEvent], header: Events | None) -> int:
        """From which iteration on events count: other ones than those of this part, from the first common one."""
        if header is None:
            ahead = self.merge_ahead()
            begun = 0 if ahead is None else int(ahead.first)
        else:
            begun = header.since
        return max([begun, *(event.effective for event in merges)])

    def _add(self, events: list[MembershipEvent], since: int) -> tuple[MembershipEvent, ...]:
        if not since:
            self._parts.add(events)
        return self.membership.add(events)

    def _tell_of(self, event: MembershipEvent, reason: str) -> None:
        if event.kind == "merged":
            merge, own = merge_of(event), self.side()
            other = next((iteration for _, iteration in merge.met if iteration != own), own)
            self._tell(MergeAgreed(iteration=merge.first, own_iteration=own, other_iteration=other))
        elif event.peer_id != self.me:
            iteration = max(event.iteration, 0)
            self._tell(PeerSeen(peer_id=event.peer_id, event=event.kind, iteration=iteration, reason=reason))

    def _readable_merges(self, events: list[MembershipEvent], source: PeerId | None) -> list[MembershipEvent]:
        merges = []
        for event in merges_among(events):
            try:
                if self._parts.is_believable(event):
                    merges.append(event)
            except RemoteProtocolError as error:
                self._tell(RemoteFault(code=error.code, remote=source or self.me, detail=str(error)))
        return merges

    def _of_itself(
        self, unknown: list[MembershipEvent], source: PeerId, header: Events | None
    ) -> list[MembershipEvent]:
        """What a stranger says of itself: until a merge with its part is agreed on, what happened elsewhere is nothing
        of this view's; nor is what it says for a merge with others."""
        if header is not None and header.since > header.iteration:
            return []
        coming = [event for event in unknown if event.effective > self.iteration and event.kind != "merged"]
        return [event for event in coming if event.peer_id == source]

    def _concern(self, merges: list[MembershipEvent]) -> bool:
        return self._parts.concern(merges, iteration=self.iteration, members=self.view(self.iteration).cell_of)

    def _believed_merges(
        self, news: list[MembershipEvent], source: PeerId | None, header: Events | None
    ) -> list[MembershipEvent]:
        """These merges, and a later one where those that a stranger tells of come before this peer's part could hear of
        them: iterations are quick, and it went on since it said where it is."""
        is_late = self._parts.come_too_early(news, self.iteration) and self.is_running()
        if is_late and source is not None and header is not None and self.is_stranger(source):
            return [*news, *self._parts.meeting(self.iteration, source, header.iteration)]
        return news

    def _is_known(self, event: MembershipEvent) -> bool:
        known = self.membership.known(event)
        return known is not None and (known.iteration, known.record) <= (event.iteration, event.record)

    def _is_believable(self, event: MembershipEvent, source: PeerId | None) -> bool:
        """A joining carries the peer's own signed record; a leaving or a loss is believed of those who joined."""
        if event.kind != "joined":
            return self.membership.joined(event.peer_id, event.incarnation) is not None
        if event.iteration == FOUNDING and self.started and source is not None and self.iteration > 0:
            known = self.membership.joined(event.peer_id, event.incarnation)
            if known is None and not merges_among(self.membership.events()):
                return False
        try:
            record, body = read_member(self.run_id, event.record)
            if (record.peer_id, record.incarnation) != (event.peer_id, event.incarnation):
                raise RemoteProtocolError("record_peer", "a joining with somebody else's record")
        except MarflError as error:
            self._tell(RemoteFault(code=error.code, remote=source or self.me, detail=str(error)))
            return False
        if event.incarnation >= self._incarnations.get(event.peer_id, 0):
            self._incarnations[event.peer_id] = event.incarnation
            self.bodies[event.peer_id] = body
            (self._dial_only.discard if body.address else self._dial_only.add)(event.peer_id)
            self._links.learn(event.peer_id, body.address)
        return True
