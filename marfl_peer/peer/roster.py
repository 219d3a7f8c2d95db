"""Who belongs to the swarm, as this peer knows it: hears, believes, floods and states membership events.

The rules are `protocol.view`'s; here they meet signed records, connections and this peer's own life.
"""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import msgspec

from marfl_peer.errors import MarflError, RemoteProtocolError
from marfl_peer.facts import PeerSeen, RemoteFault, Sink
from marfl_peer.ids import DhtKey, Iteration, PeerId, RunId, dht_key
from marfl_peer.network.links import Links
from marfl_peer.protocol import records
from marfl_peer.protocol.messages import Events
from marfl_peer.protocol.records import MemberBody, Record
from marfl_peer.protocol.view import FOUNDING, Membership, MembershipEvent, MembershipKind, View

EVENTS_A_MESSAGE = 200
"""With records of at most 1 KiB these fit in one frame; larger ones are split by size."""
MEMBER_BUCKETS = 8
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
    """`iteration` is where this peer is: it dates what it sees."""

    def __init__(
        self,
        *,
        me: PeerId,
        run_id: RunId,
        group_size: int,
        links: Links,
        tell: Sink,
        on_news: Callable[[tuple[MembershipEvent, ...]], None],
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

    @property
    def can_date(self) -> bool:
        """Whether this peer has begun an iteration. One that is still on its way in would date what it sees in the
        past, and change views that are in use; the others see it, too."""
        return self.started and self.iteration > 0

    def view(self, iteration: Iteration) -> View:
        return self.membership.view(iteration, self._group_size)

    def is_member(self, iteration: Iteration) -> bool:
        return self.me in self.view(iteration).cell_of

    def gone(self) -> list[PeerId]:
        """Members whose loss or leaving is known, whether it took effect yet or not."""
        latest = (self.membership.status(peer) for peer in self.bodies)
        return [event.peer_id for event in latest if event is not None and event.kind != "joined"]

    def is_there(self, peer: PeerId) -> bool:
        """Whether a peer joined, and neither left nor was lost as far as this peer knows."""
        latest = self.membership.status(peer)
        return latest is not None and latest.kind == "joined"

    def is_reborn(self, peer: PeerId, view: View) -> bool:
        """Whether a member of this view lives another life by now, which counts in later views only."""
        latest, counted = self.membership.status(peer), view.incarnations.get(peer)
        return latest is not None and counted is not None and latest.incarnation > counted

    def own_status(self) -> MembershipEvent | None:
        return self.membership.status(self.me)

    def addresses(self) -> list[tuple[str, int]]:
        """Where the other members are reached, in the order of their ids."""
        return [(body.host, body.port) for peer, body in sorted(self.bodies.items()) if peer != self.me]

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
        iteration = max(self.iteration, latest.iteration, 1)
        event = MembershipEvent(
            peer_id=peer, incarnation=latest.incarnation, kind=kind, iteration=iteration, record=b""
        )
        self._take([event], source=None, reason=reason)

    def send_all(self, peer: PeerId, *, answer_wanted: bool = False) -> None:
        """Everything known, to one peer."""
        batches = _batches(self.membership.events())
        for index, payload in enumerate(batches):
            last = index == len(batches) - 1
            self._links.send(peer, Events(answer_wanted=answer_wanted and last), payload)

    # what others state

    def heard(self, sender: PeerId, message: Events, payload: memoryview) -> None:
        """Raises: RemoteProtocolError for events that are not what they should be."""
        self._take(self._decode(payload), source=sender, reason=f"heard from {sender[:8]}")
        if message.answer_wanted:
            self.send_all(sender)

    def _decode(self, payload: memoryview) -> list[MembershipEvent]:
        try:
            plain = msgpack.unpackb(payload, max_bin_len=8192, max_str_len=128, max_array_len=4096, max_map_len=0)
            return msgspec.convert(plain, list[MembershipEvent])
        except (ValueError, msgpack.UnpackException, msgspec.ValidationError) as error:
            raise RemoteProtocolError("bad_events", f"not membership events: {error}") from None

    def _take(self, events: list[MembershipEvent], *, source: PeerId | None, reason: str) -> None:
        # What is known already was checked when it came first: in a flood most copies are such.
        unknown = [event for event in events if not self._is_known(event)]
        # Joinings first: a loss is believed of those who joined, and a newcomer hears of both in one message.
        joinings = [event for event in unknown if event.kind == "joined" and self._is_believable(event, source)]
        news = self.membership.add(joinings)
        others = [event for event in unknown if event.kind != "joined" and self._is_believable(event, source)]
        news += self.membership.add(others)
        if not news:
            return
        for event in news:
            if event.peer_id != self.me:
                self._tell(
                    PeerSeen(peer_id=event.peer_id, event=event.kind, iteration=max(event.iteration, 0), reason=reason)
                )
        if self.started:
            for payload in _batches(news):
                self._links.flood(Events(), payload, but=source)
        self._on_news(news)

    def _is_known(self, event: MembershipEvent) -> bool:
        known = self.membership.known(event)
        return known is not None and (known.iteration, known.record) <= (event.iteration, event.record)

    def _is_believable(self, event: MembershipEvent, source: PeerId | None) -> bool:
        """A joining carries the peer's own signed record; a leaving or a loss is believed of those who joined."""
        if event.kind != "joined":
            return self.membership.joined(event.peer_id, event.incarnation) is not None
        if event.iteration == FOUNDING and self.started and source is not None and self.iteration > 0:
            known = self.membership.joined(event.peer_id, event.incarnation)
            if known is None:
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


def _batches(events: tuple[MembershipEvent, ...]) -> list[bytes]:
    """Events as payloads that each fit in a frame."""
    payloads: list[bytes] = []
    batch: list[object] = []
    size = 0
    for event in events:
        plain = msgspec.to_builtins(event, builtin_types=(bytes,))
        cost = len(event.record) + 128
        if batch and (size + cost > _MAX_PAYLOAD or len(batch) >= EVENTS_A_MESSAGE):
            payloads.append(bytes(msgpack.packb(batch)))
            batch, size = [], 0
        batch.append(plain)
        size += cost
    return [*payloads, bytes(msgpack.packb(batch))]
