"""Membership as a pure function of a set of events, and the views that follow from it.

Sets of events merge (commutative, associative, idempotent), so peers that heard the same news in any order
have the same view of every iteration. Events are believed here: signatures of records are checked before.
Knows who counts and in which cell; who acts for an empty cell is the placement's business.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec

from marfl_peer.ids import Cell, Iteration, PeerId
from marfl_peer.protocol.grid import Grid
from marfl_peer.protocol.messages import MARK_DIGITS

MembershipKind = Literal["joined", "left", "lost", "merged"]
"""What happened to a peer; or two parts of the swarm, one of them the peer's, found each other: see `merging`."""

EFFECT_DELAY = 2
"""Iterations from the first sight of an event to the view that it changes: the time that the flood has."""

FOUNDING = -1
"""The iteration that founders' events carry: they count from iteration 1."""

MAX_EVENTS = 16_384
MAX_RECORD_BYTES = 4096
_MAX_NUMBER = 2**53
_KEPT_SEATINGS = 32

_JOINED = 0
_RANK: Mapping[MembershipKind, int] = {"joined": _JOINED, "left": 1, "lost": 2, "merged": 3}
"""At equal incarnation the higher wins: only the peer itself can take back a loss, by a new incarnation."""

_Key = tuple[PeerId, int, MembershipKind, int]
_Standing = tuple[int, int]


class MembershipEvent(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Something that happened to a peer, first seen in `iteration`.

    `record`: the peer's signed member record if it joined, what the parts knew of each other if they merged, else
    empty. The limits hold for what is decoded.
    """

    peer_id: Annotated[PeerId, msgspec.Meta(pattern=r"^[0-9a-f]{40}\Z")]
    incarnation: Annotated[int, msgspec.Meta(ge=0, le=_MAX_NUMBER)]
    kind: MembershipKind
    iteration: Annotated[int, msgspec.Meta(ge=FOUNDING, le=_MAX_NUMBER)]
    record: Annotated[bytes, msgspec.Meta(max_length=MAX_RECORD_BYTES)] = b""

    @property
    def effective(self) -> Iteration:
        """The first iteration whose view it changes."""
        return Iteration(self.iteration + EFFECT_DELAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The peers that count in an iteration and where they sit. Views of equal iteration and digest are equal.

    `members` ascend; `peer_at` has one entry a cell, None where no peer sits; `digest` (40 hex digits) names
    members, incarnations, cells and shape, but not the iteration: it stays while nothing changes. `dial_only`: those
    members that nobody can dial, as far as known.
    """

    iteration: Iteration
    digest: str
    members: tuple[PeerId, ...] = field(compare=False)
    incarnations: Mapping[PeerId, int] = field(compare=False, repr=False)
    grid: Grid = field(compare=False)
    cell_of: Mapping[PeerId, Cell] = field(compare=False, repr=False)
    peer_at: tuple[PeerId | None, ...] = field(compare=False, repr=False)
    dial_only: frozenset[PeerId] = field(default=frozenset(), compare=False, repr=False)

    @property
    def mark(self) -> str:
        """The first digits of the digest: what names of lines carry."""
        return self.digest[:MARK_DIGITS]


class Membership:
    """The events that this peer has heard of, `max_events` of them at most.

    A full set keeps the oldest, whatever the order they came in, so that full sets agree, too.
    """

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self._max_events = max_events
        self._events: dict[_Key, MembershipEvent] = {}
        self._latest: dict[PeerId, MembershipEvent] = {}
        self._group_size = 0
        self._seatings: list[_Seating] = []
        self._replayed = Iteration(0)
        self._views: dict[Iteration, View] = {}

    def add(self, events: Iterable[MembershipEvent]) -> tuple[MembershipEvent, ...]:
        """Takes events in and returns those that were news, in the order of `events`, for passing on."""
        news: dict[_Key, MembershipEvent] = {}
        for event in events:
            key = _key(event)
            known = self._events.get(key)
            if known is None or (event.iteration, event.record) < (known.iteration, known.record):
                self._events[key] = news[key] = event
                self._note(event)
        forgotten = self._forget_excess()
        if news:
            # What is forgotten is no older than the news that displaced it.
            self._drop_views_from(min(event.effective for event in news.values()))
        for event in forgotten:
            news.pop(_key(event), None)
        return tuple(sorted(news.values(), key=_order))

    def copy(self) -> Membership:
        """Another set of the same events."""
        other = Membership(self._max_events)
        other.add(self._events.values())
        return other

    def events(self) -> tuple[MembershipEvent, ...]:
        """Everything known, ordered by iteration, peer id, incarnation and kind."""
        return tuple(sorted(self._events.values(), key=_order))

    def status(self, peer_id: PeerId) -> MembershipEvent | None:
        """The event that decides about the peer, whether it is in effect yet or not; None for a stranger."""
        return self._latest.get(peer_id)

    def joined(self, peer_id: PeerId, incarnation: int) -> MembershipEvent | None:
        """The joining of that incarnation, which carries its member record, if it is known."""
        return self._events.get((peer_id, incarnation, "joined", 0))

    def known(self, event: MembershipEvent) -> MembershipEvent | None:
        """The event of the same peer, incarnation and kind that is held already, if there is one."""
        return self._events.get(_key(event))

    def view(self, iteration: Iteration, group_size: int) -> View:
        """The view of `iteration`: a function of the set of events, the iteration and the group size alone.

        Cheap while nothing changed. An event that comes late changes the views of past iterations, too.
        """
        if group_size != self._group_size:
            self._group_size = group_size
            self._drop_views_from(Iteration(0))
        seating = self._seating(iteration)
        view = self._views.get(seating.since) or _view_of(seating)
        if view.iteration != iteration:
            view = dataclasses.replace(view, iteration=iteration)
        self._views[seating.since] = view
        return view

    def _seating(self, iteration: Iteration) -> _Seating:
        """The seating in force in `iteration`, replayed from the last one that is kept."""
        kept = [seating for seating in self._seatings if seating.since <= iteration]
        if kept and iteration <= self._replayed:
            return kept[-1]
        if not kept:
            # Before all that is kept: rare enough to start again, so that what is kept stays without gaps.
            self._drop_views_from(Iteration(0))
        seating = kept[-1] if kept else _NOBODY
        for since, events in self._changes(seating.since, iteration):
            seating = _reseat(seating, since, events, self._group_size)
            self._keep(seating)
        self._replayed = iteration
        return seating

    def _keep(self, seating: _Seating) -> None:
        self._seatings.append(seating)
        if len(self._seatings) > _KEPT_SEATINGS:
            self._views.pop(self._seatings.pop(0).since, None)

    def _changes(self, after: Iteration, until: Iteration) -> list[tuple[Iteration, list[MembershipEvent]]]:
        """The events that take effect after one iteration and until another, by that iteration, ascending."""
        changes: dict[Iteration, list[MembershipEvent]] = {}
        for event in self._events.values():
            if after < event.effective <= until:
                changes.setdefault(event.effective, []).append(event)
        return sorted(changes.items())

    def _drop_views_from(self, iteration: Iteration) -> None:
        self._replayed = min(self._replayed, Iteration(iteration - 1))
        self._seatings = [seating for seating in self._seatings if seating.since < iteration]
        self._views = {since: view for since, view in self._views.items() if since < iteration}

    def _note(self, event: MembershipEvent) -> None:
        if event.kind == "merged":
            return
        known = self._latest.get(event.peer_id)
        if known is None or _standing(known) <= _standing(event):
            self._latest[event.peer_id] = event

    def _forget_excess(self) -> tuple[MembershipEvent, ...]:
        """Keeping the first of one total order commutes with merging; keeping what came first would not."""
        if len(self._events) <= self._max_events:
            return ()
        forgotten = self.events()[self._max_events :]
        for event in forgotten:
            del self._events[_key(event)]
        self._latest.clear()
        for event in self._events.values():
            self._note(event)
        return forgotten


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seating:
    """Who sits where from iteration `since` on, and what is known about everybody by then."""

    since: Iteration
    grid: Grid
    seats: tuple[PeerId | None, ...]
    standings: Mapping[PeerId, _Standing]


_NOBODY = _Seating(since=Iteration(0), grid=Grid(()), seats=(None,), standings={})


def _reseat(before: _Seating, since: Iteration, events: list[MembershipEvent], group_size: int) -> _Seating:
    """Leavers get up, joiners take the lowest free cells in order of peer id, everybody else stays.

    A peer with a new incarnation does both. The grid grows when it is full; it shrinks, and the members close
    ranks in the order of their cells, only when under 4/5 of its cells would do: moving is what costs. Where parts of
    the swarm merge all sit down by rank of peer id: each had seated its own, and what comes before is no longer asked.
    """
    standings = dict(before.standings)
    is_merge = any(event.kind == "merged" for event in events)
    events = [event for event in events if event.kind != "merged"]
    for event in events:
        standings[event.peer_id] = max(standings.get(event.peer_id, _standing(event)), _standing(event))
    heard_of = sorted({event.peer_id for event in events})
    changed = [peer for peer in heard_of if standings[peer] != before.standings.get(peer)]
    joining = [peer for peer in changed if standings[peer][1] == _JOINED]
    leaving = frozenset(changed)
    seats = [None if peer in leaving else peer for peer in before.seats]
    count = len(joining) + sum(peer is not None for peer in seats)
    needed = Grid.for_peers(max(count, 1), group_size)
    grid = needed if count > before.grid.cells else before.grid
    seats += [None] * (grid.cells - len(seats))
    free = [cell for cell, peer in enumerate(seats) if peer is None]
    for cell, peer in zip(free, joining, strict=False):
        seats[cell] = peer
    if is_merge or 5 * needed.cells < 4 * grid.cells:
        grid = needed
        seats = [peer for peer in seats if peer is not None]
        if is_merge:
            seats = [*sorted(peer for peer in seats if peer is not None)]
        seats += [None] * (grid.cells - len(seats))
    return _Seating(since=since, grid=grid, seats=tuple(seats), standings=standings)


def _view_of(seating: _Seating) -> View:
    cell_of = {peer: Cell(cell) for cell, peer in enumerate(seating.seats) if peer is not None}
    members = tuple(sorted(cell_of))
    incarnations = {peer: seating.standings[peer][0] for peer in members}
    lines = [f"{peer} {incarnations[peer]} {cell_of[peer]}" for peer in members]
    content = "\n".join(["x".join(map(str, seating.grid.shape)), *lines])
    return View(
        iteration=seating.since,
        digest=hashlib.sha256(content.encode()).hexdigest()[:40],
        members=members,
        incarnations=incarnations,
        grid=seating.grid,
        cell_of=cell_of,
        peer_at=seating.seats,
    )


def _key(event: MembershipEvent) -> _Key:
    # A peer may see any number of merges in one life; of all else the first sight counts.
    return event.peer_id, event.incarnation, event.kind, event.iteration if event.kind == "merged" else 0


def _standing(event: MembershipEvent) -> _Standing:
    return event.incarnation, _RANK[event.kind]


def _order(event: MembershipEvent) -> tuple[int, PeerId, int, int]:
    return event.iteration, event.peer_id, *_standing(event)
