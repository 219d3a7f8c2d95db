"""Who belongs to the swarm, as this peer knows it: hears, believes, floods and states membership events.

The rules are `protocol.view`'s; here they meet signed records, connections and this peer's own life.
"""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import msgspec

from marfl_peer.errors import MarflError, RemoteProtocolError
from marfl_peer.facts import MergeAgreed, PeerSeen, RemoteFault, Sink
from marfl_peer.ids import DhtKey, Iteration, PeerId, RunId, dht_key
from marfl_peer.network.links import Links
from marfl_peer.protocol import records
from marfl_peer.protocol.merging import Era, Merge, merge_event, merge_of
from marfl_peer.protocol.messages import Events
from marfl_peer.protocol.records import MemberBody, Record
from marfl_peer.protocol.view import EFFECT_DELAY, FOUNDING, Membership, MembershipEvent, MembershipKind, View

EVENTS_A_MESSAGE = 200
"""With records of at most 1 KiB these fit in one frame; larger ones are split by size."""
MEMBER_BUCKETS = 8
TRUSTED_ITERATIONS = 8
"""How long after a merge what the other part brings is believed though some of it is not known to be back yet."""
_MAX_PAYLOAD = 200 * 1024


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
        tell: Sink,
        on_news: Callable[[tuple[MembershipEvent, ...]], None],
        incarnation: Callable[[], int] = lambda: 0,
        last_iteration: int = 2**31,
    ) -> None:
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
        self._incarnation, self._last_iteration = incarnation, last_iteration
        self._era = Era()
        self._merges: list[Merge] = []
        self._heard_in = 0
        self._others_iteration = 0

    @property
    def can_date(self) -> bool:
        """Whether this peer has begun an iteration. One that is still on its way in would date what it sees in the
        past, and change views that are in use; the others see it, too."""
        return self.started and self.iteration > 0

    def view(self, iteration: Iteration) -> View:
        return self._counting(iteration).view(iteration, self._group_size)

    def _counting(self, iteration: int) -> Membership:
        """The events that count in an iteration: before a merge, those of this part of the swarm."""
        return self._era.at(iteration) or self.membership

    def is_member(self, iteration: Iteration) -> bool:
        return self.me in self.view(iteration).cell_of

    def gone(self) -> list[PeerId]:
        """Members whose loss or leaving is known, whether it took effect yet or not."""
        counting = self._counting(self.iteration)
        latest = (counting.status(peer) for peer in self.bodies)
        return [event.peer_id for event in latest if event is not None and event.kind != "joined"]

    def is_there(self, peer: PeerId) -> bool:
        """Whether a peer joined, and neither left nor was lost as far as this peer knows."""
        latest = self.membership.status(peer)
        return latest is not None and latest.kind == "joined"

    def is_reborn(self, peer: PeerId, view: View) -> bool:
        """Whether a member of this view lives another life by now, which counts in later views only."""
        latest, counted = self.membership.status(peer), view.incarnations.get(peer)
        return latest is not None and counted is not None and latest.incarnation > counted

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
        return self._merges[-1] if self._merges and self._merges[-1].first > self.iteration else None

    def is_merging(self) -> bool:
        """Whether the first common iteration of a merge is to come, or runs."""
        return bool(self._merges) and self._merges[-1].first >= self.iteration

    def side(self) -> int:
        """Where this peer's part of the swarm was when it met another one: the last such meeting counts."""
        members = self.view(self.iteration).cell_of
        sides = [side for merge in self._merges if (side := merge.side(members)) is not None]
        return max(sides, default=self._heard_in)

    def dating(self) -> int:
        """The iteration that what is seen now is dated with: late enough for those who are ahead to hear of it in
        time, and no change of a view from before a merge."""
        merge = self.merge_ahead()
        begun = 1 if merge is None else merge.first - EFFECT_DELAY
        return max(self.iteration, self._others_iteration, begun)

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
        return [(body.host, body.port) for peer, body in sorted(self.bodies.items()) if peer != self.me]

    def known_addresses(self) -> list[tuple[str, int]]:
        """Where peers are reached, whatever became of them."""
        return [(body.host, body.port) for _, body in sorted(self.bodies.items())]

    def rows(self, view: View) -> list[dict[str, object]]:
        """The members of a view for whoever asks, as plain JSON types."""
        rows: list[dict[str, object]] = []
        for peer in view.members:
            body, latest = self.bodies.get(peer), self.membership.status(peer)
            rows.append(
                {
                    "peer_id": peer,
                    "address": f"{body.host}:{body.port}" if body is not None else "",
                    "status": latest.kind if latest is not None else "unknown",
                    "connected": peer == self.me or self._links.is_connected(peer),
                }
            )
        return rows

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
        # Nobody goes before it came: that dates the leaving of one that is still on its way in.
        iteration = max(self.dating(), latest.iteration, 1)
        event = MembershipEvent(
            peer_id=peer, incarnation=latest.incarnation, kind=kind, iteration=iteration, record=b""
        )
        self._take([event], source=None, reason=reason)

    def state_merge(self, other: PeerId, other_iteration: int) -> None:
        """This peer, in a view that runs, met a member of another one, which is in that iteration. Nothing where the
        run ends before both could be one."""
        event = merge_event(
            self.me,
            self._incarnation(),
            iteration=self.iteration,
            other=other,
            other_iteration=other_iteration,
        )
        if event.effective <= self._last_iteration:
            self._take([event], source=None, reason="met another part of the swarm")
            self.send_all(other, answer_wanted=True)

    def send_all(self, peer: PeerId, *, answer_wanted: bool = False) -> None:
        """Everything known, to one peer."""
        batches = _batches(self.membership.events(), self._last_merges())
        for index, payload in enumerate(batches):
            last = index == len(batches) - 1
            self._links.send(peer, self._header(answer_wanted=answer_wanted and last), payload)

    def _header(self, *, answer_wanted: bool = False, since: int = 0) -> Events:
        known = self._last_merges()
        since = max([since, *(event.effective for event in known)])
        return Events(answer_wanted=answer_wanted, iteration=self.iteration, since=since)

    def _last_merges(self) -> tuple[MembershipEvent, ...]:
        """They go with every message: news of another part must not come before the news of the merge."""
        merges = (event for event in self.membership.events() if event.kind == "merged")
        return tuple(event for event in merges if self._is_recent(event.effective))

    def _is_recent(self, first: int) -> bool:
        return self.iteration < first + TRUSTED_ITERATIONS

    # what others state

    def heard(self, sender: PeerId, message: Events, payload: memoryview) -> None:
        """Raises: RemoteProtocolError for events that are not what they should be."""
        if not self.is_stranger(sender):
            self._others_iteration = max(self._others_iteration, min(message.iteration, self._last_iteration))
        was_stranger, known = self.is_stranger(sender), len(self._merges)
        self._take(self._decode(payload), source=sender, reason=f"heard from {sender[:8]}", header=message)
        if was_stranger and len(self._merges) > known:
            # Perhaps a merge of two others: that becomes one of three.
            self.send_all(sender, answer_wanted=True)
        elif message.answer_wanted:
            self.send_all(sender)

    def _decode(self, payload: memoryview) -> list[MembershipEvent]:
        try:
            plain = msgpack.unpackb(payload, max_bin_len=8192, max_str_len=128, max_array_len=4096, max_map_len=0)
            return msgspec.convert(plain, list[MembershipEvent])
        except (ValueError, msgpack.UnpackException, msgspec.ValidationError) as error:
            raise RemoteProtocolError("bad_events", f"not membership events: {error}") from None

    def _take(
        self, events: list[MembershipEvent], *, source: PeerId | None, reason: str, header: Events | None = None
    ) -> None:
        # What is known already was checked when it came first: in a flood most copies are such.
        unknown = [event for event in events if not self._is_known(event)]
        merges = [event for event in unknown if event.kind == "merged" and self._is_believable_merge(event, source)]
        if source is not None and header is not None:
            merges += self._merge_in_time(merges, source, header)
        ahead = self.merge_ahead()
        begun = header.since if header is not None else 0 if ahead is None else ahead.first
        since = max([begun, *(event.effective for event in merges)])
        if merges and since > self.iteration and self.started:
            self._era.end(self.iteration)
            self._era.begin(since, self.membership)
        if source is not None and self.is_stranger(source) and not self._is_trusted(since, merges):
            # Until a merge is agreed on, what happened elsewhere is nothing of this view's.
            unknown = [event for event in unknown if event.peer_id == source and event.effective > self.iteration]
        # Joinings first: a loss is believed of those who joined, and a newcomer hears of both in one message.
        news = self._add(merges, since)
        joinings = [event for event in unknown if event.kind == "joined" and self._is_believable(event, source)]
        news += self._add(joinings, since)
        others = [event for event in unknown if event.kind in ("left", "lost") and self._is_believable(event, source)]
        news += self._add(others, since)
        if not news:
            return
        for event in news:
            self._tell_of(event, reason)
        if self.started:
            for payload in _batches(news, self._last_merges()):
                self._links.flood(self._header(since=since), payload, but=source)
        self._on_news(news)

    def _add(self, events: list[MembershipEvent], since: int) -> tuple[MembershipEvent, ...]:
        if not since:
            self._era.add(events)
        return self.membership.add(events)

    def _tell_of(self, event: MembershipEvent, reason: str) -> None:
        if event.kind == "merged":
            self._note_merge(merge_of(event))
        elif event.peer_id != self.me:
            iteration = max(event.iteration, 0)
            self._tell(PeerSeen(peer_id=event.peer_id, event=event.kind, iteration=iteration, reason=reason))

    def _note_merge(self, merge: Merge) -> None:
        if not self.is_merging():
            self._merges, self._heard_in = [], self.iteration
        self._merges = sorted([*self._merges, merge], key=lambda one: (one.first, one.met))
        own = self.side()
        other = next((iteration for _, iteration in merge.met if iteration != own), own)
        self._tell(MergeAgreed(iteration=merge.first, own_iteration=own, other_iteration=other))

    def _merge_in_time(self, merges: list[MembershipEvent], source: PeerId, header: Events) -> list[MembershipEvent]:
        """A later merge, where one that a stranger tells of would come before this peer's own part could hear of it:
        iterations are quick, and this part went on since it said where it is."""
        first = max((event.effective for event in merges), default=0)
        if not first or first >= self.iteration + EFFECT_DELAY or not (self.is_running() and self.is_stranger(source)):
            return []
        own = merge_event(
            self.me,
            self._incarnation(),
            iteration=self.iteration,
            other=source,
            other_iteration=min(header.iteration, self._last_iteration),
        )
        return [own] if own.effective <= self._last_iteration else []

    def _is_trusted(self, since: int, merges: list[MembershipEvent]) -> bool:
        known = [*merges, *self._last_merges()]
        return any(event.effective == since and self._is_recent(event.effective) for event in known)

    def _is_believable_merge(self, event: MembershipEvent, source: PeerId | None) -> bool:
        try:
            return merge_of(event).first <= self._last_iteration
        except RemoteProtocolError as error:
            self._tell(RemoteFault(code=error.code, remote=source or self.me, detail=str(error)))
            return False

    def _is_known(self, event: MembershipEvent) -> bool:
        known = self.membership.known(event)
        return known is not None and (known.iteration, known.record) <= (event.iteration, event.record)

    def _is_believable(self, event: MembershipEvent, source: PeerId | None) -> bool:
        """A joining carries the peer's own signed record; a leaving or a loss is believed of those who joined."""
        if event.kind != "joined":
            return self.membership.joined(event.peer_id, event.incarnation) is not None
        if event.iteration == FOUNDING and self.started and source is not None and self.iteration > 0:
            known = self.membership.joined(event.peer_id, event.incarnation)
            if known is None and not any(event.kind == "merged" for event in self.membership.events()):
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
            self._links.learn(event.peer_id, (body.host, body.port))
        return True


def _batches(events: tuple[MembershipEvent, ...], first: tuple[MembershipEvent, ...] = ()) -> list[bytes]:
    """Events as payloads that each fit in a frame and begin with `first`."""
    head = [_plain(event) for event in first]
    payloads: list[bytes] = []
    batch = [*head]
    size = 0
    for event in events:
        if event in first:
            continue
        cost = len(event.record) + 128
        if batch and (size + cost > _MAX_PAYLOAD or len(batch) >= EVENTS_A_MESSAGE):
            payloads.append(bytes(msgpack.packb(batch)))
            batch, size = [*head], 0
        batch.append(_plain(event))
        size += cost
    return [*payloads, bytes(msgpack.packb(batch))]


def _plain(event: MembershipEvent) -> object:
    return msgspec.to_builtins(event, builtin_types=(bytes,))
