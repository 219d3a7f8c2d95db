"""Passing the events of the first view on, and asking for them where they do not come."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from marfl_peer.ids import PeerId
from marfl_peer.peer import relaying as relaying_module
from marfl_peer.peer.relaying import Relaying
from marfl_peer.protocol.messages import Message, Relayed, Start

START = Start(view_digest="ab", iteration=0, state_digest="cd", holders=())


def peers(count: int) -> list[PeerId]:
    """Ascending."""
    return sorted(PeerId(hashlib.sha256(b"%d" % number).hexdigest()[:40]) for number in range(count))


class Stage:
    """Stands for roster and links, and notes what is sent and believed. Events are the word `events`, or `question`."""

    def __init__(self, me: PeerId) -> None:
        self.sent: list[tuple[PeerId, Message | str]] = []
        self.believed: set[PeerId] = set()
        self.connected: set[PeerId] = set()
        self.dial_only: frozenset[PeerId] = frozenset()
        self.is_awaited = True
        self.relaying = Relaying(
            me=me,
            roster=self,  # type: ignore[arg-type]  # a stand-in with the methods that are used
            links=self,  # type: ignore[arg-type]
            is_awaited=lambda: self.is_awaited,
        )

    def send(self, peer: PeerId, message: Message) -> None:
        self.sent.append((peer, message))

    def send_all(self, peer: PeerId, *, answer_wanted: bool = False) -> None:
        self.sent.append((peer, "question" if answer_wanted else "events"))

    def view(self, iteration: int) -> Stage:
        """Also the first view, of which only these are asked for."""
        assert iteration == 1
        return self

    def enter_by(self, peer: PeerId) -> None:
        self.believed = {peer}

    def hear_also(self, peer: PeerId) -> None:
        self.believed.add(peer)

    def is_connected(self, peer: PeerId) -> bool:
        return peer in self.connected


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying_module, "RELAY_PATIENCE_S", 0.05)


@pytest.mark.parametrize("others", [1, 32])
def test_founder_of_a_small_swarm_gives_the_events_to_all(others: int) -> None:
    founder, *accepted = peers(others + 1)
    stage = Stage(founder)
    stage.relaying.start(START, accepted)
    assert stage.sent == [(peer, what) for peer in accepted for what in ("events", START)]


def test_founder_of_a_large_swarm_gives_them_to_its_children_and_tells_the_others_first_whose_they_have() -> None:
    founder, *accepted = peers(100)
    stage = Stage(founder)
    stage.relaying.start(START, accepted)
    told = [(peer, Relayed(peer_id=accepted[index // 32])) for index, peer in enumerate(accepted[32:])]
    told_and_started = [word for peer, message in told for word in ((peer, message), (peer, START))]
    given = [(peer, what) for peer in accepted[:32] for what in ("events", START)]
    assert stage.sent == told_and_started + given


def test_founder_gives_the_events_itself_to_those_that_only_dial() -> None:
    founder, *accepted = peers(100)
    stage = Stage(founder)
    stage.dial_only = frozenset({accepted[0], accepted[90]})
    stage.relaying.start(START, accepted)
    given = [peer for peer, what in stage.sent if what == "events"]
    assert given == [*accepted[:33], accepted[90]]
    told = {message.peer_id for _, message in stage.sent if isinstance(message, Relayed)}
    assert told == {accepted[1], accepted[2], accepted[3]}


def test_who_only_dials_passes_nothing_on() -> None:
    founder, me, *others = peers(100)
    stage = Stage(me)
    stage.relaying.begun(founder)
    stage.relaying.pass_on([founder, *others])
    assert stage.sent == []


def test_who_has_the_events_passes_them_on_to_its_children_alone() -> None:
    founder, *others = members = peers(100)
    for position, me in enumerate(others, start=1):
        stage = Stage(me)
        stage.relaying.begun(founder)
        stage.relaying.pass_on(members)
        children = members[32 * position + 1 : 32 * position + 33]
        assert stage.sent == [(peer, "events") for peer in children]


def waiting(founder: PeerId, relay: PeerId, me: PeerId) -> Stage:
    """A peer that was told of its relay, and that the swarm starts."""
    stage = Stage(me)
    stage.enter_by(founder)
    stage.relaying.told(founder, relay)
    assert stage.believed == {founder, relay}
    stage.relaying.begun(founder)
    return stage


@pytest.mark.parametrize("is_connected", [False, True])
def test_founder_is_asked_once_where_the_relay_is_late_and_later_where_the_relay_lives(
    on_loop, is_connected: bool
) -> None:
    async def main() -> None:
        founder, relay, me = peers(3)
        stage = waiting(founder, relay, me)
        stage.connected = {relay} if is_connected else set()
        await asyncio.sleep(0.075)
        assert stage.sent == ([] if is_connected else [(founder, "question")])
        await asyncio.sleep(0.2)
        assert stage.sent == [(founder, "question")]
        assert stage.believed == {founder, relay}, "whoever is first"

    on_loop(main())


def test_founder_is_asked_at_once_where_the_relay_is_gone(on_loop) -> None:
    async def main() -> None:
        founder, relay, other, me = peers(4)
        stage = waiting(founder, relay, me)
        stage.relaying.gone(other)
        assert stage.sent == []
        stage.relaying.gone(relay)
        assert stage.sent == [(founder, "question")]
        await asyncio.sleep(0.2)
        assert stage.sent == [(founder, "question")]

    on_loop(main())


def test_what_came_so_far_is_forgotten_before_the_founder_is_asked() -> None:
    """It may be of another swarm, to which the relay belongs by now."""
    founder, relay, stranger, me = peers(4)
    stage = Stage(me)
    stage.relaying.told(founder, relay)
    stage.believed = {stranger}
    stage.relaying.gone(relay)
    assert stage.believed == {founder, relay}


@pytest.mark.parametrize("how", ["whole", "elsewhere", "another founder", "over"])
def test_nobody_is_asked_by_one_that_waits_no_more(on_loop, how: str) -> None:
    async def main() -> None:
        founder, relay, me = peers(3)
        stage = waiting(founder, relay, me)
        assert stage.relaying.is_under_way()
        match how:
            case "whole":
                stage.relaying.pass_on([founder, relay, me])
                stage.is_awaited = False
            case "elsewhere":
                stage.is_awaited = False
            case "another founder":
                stage.relaying.forget()
            case "over":
                stage.relaying.close()
                stage.is_awaited = False
        assert not stage.relaying.is_under_way()
        await asyncio.sleep(0.1)
        stage.relaying.gone(relay)
        assert stage.sent == []

    on_loop(main())


def test_who_has_the_events_from_the_founder_waits_for_no_relay(on_loop) -> None:
    async def main() -> None:
        founder, relay, me = peers(3)
        stage = Stage(me)
        stage.relaying.begun(founder)
        assert not stage.relaying.is_under_way()
        stage.relaying.gone(relay)
        await asyncio.sleep(0.1)
        assert stage.sent == []

    on_loop(main())
