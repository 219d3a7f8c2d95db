"""Heartbeats, silence and lag: alone, and over connections on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from linked_nodes import swarm, two, until

from marfl_peer.clock import Clock
from marfl_peer.network import door as door_module
from marfl_peer.network import links as links_module
from marfl_peer.network import watch as watch_module
from marfl_peer.network.connection import Connection
from marfl_peer.network.guests import Guests
from marfl_peer.network.handshake import Inbox
from marfl_peer.network.waking import LOOK_S, Waking
from marfl_peer.network.watch import Watch
from marfl_peer.protocol.deadlines import HEARTBEAT_S
from marfl_peer.protocol.frames import frame_head
from marfl_peer.protocol.messages import (
    Heartbeat,
    Message,
    encode,
)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Politeness is measured in turns of the loop here."""
    monkeypatch.setattr(links_module, "POLITE_S", 0.02)


def test_silent_peer_is_lost(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket stays open, as that of a stopped process or a host without power."""
    monkeypatch.setattr(watch_module, "heartbeat_s", lambda company: 0.1)
    monkeypatch.setattr(watch_module, "LOOK_S", 0.05)
    monkeypatch.setattr(watch_module, "silence_s", lambda lag_s, company=1, every_s=1: 0.3)
    monkeypatch.setattr(door_module, "silence_s", lambda lag_s, company=1: 0.2)

    async def deaf(connection: Connection, inbox: Inbox) -> None:
        await connection.closed

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            await other.until(lambda: other.links.is_connected(one.me))
            other.links._tasks.cancel()  # no heartbeats any more, and no watching either
            monkeypatch.setattr(other.links._door, "_receive", deaf)  # its kernel still accepts
            monkeypatch.setattr(other.links, "connect", lambda peer: None)
            await one.until(lambda: ("lost", other.me) in one.events)
            # Silent in the connection, silent at its door, and once more.
            assert [what for what, _ in one.events] == ["up", "down", "down", "down", "lost"]

    on_both_loops(main())


def test_heartbeats_keep_idle_connections(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "heartbeat_s", lambda company: 0.02)
    monkeypatch.setattr(watch_module, "LOOK_S", 0.01)

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            before = other.links.traffic.received_bytes
            beat = len(frame_head(encode(Heartbeat())))
            await until(lambda: other.links.traffic.received_bytes >= before + 20 * beat)
            assert one.events == [("up", other.me)]
            said = {message for _, message, _ in other.frames}
            assert said == {Heartbeat(iteration=7, every_s=0.02)}, "they say where it is"

    on_both_loops(main())


def test_watch_after_a_lag_of_its_own_calls_nobody_silent(on_loop) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            now = asyncio.get_running_loop().time()
            one.links._watch.look(now + 60.0, 60.0)
            assert one.connections(other.me)[0].is_open
            one.links._watch.look(now + 60.0, 0.0)
            assert one.connections(other.me)[0].is_open, "there was no time yet to hear what came meanwhile"
            for count in range(8):
                one.links._waking.looked(now + 60.0 + LOOK_S * count)
            one.links._watch.look(now + 63.5, 0.0)
            assert not one.connections(other.me)[0].is_open

    on_loop(main())


class Wire:
    """Stands for a connection: notes what it is told."""

    def __init__(self, *, last_sent: float, last_heard: float) -> None:
        self.last_sent, self.last_heard = last_sent, last_heard
        self.own_beat_s = self.their_beat_s = HEARTBEAT_S
        self.sent: list[Message] = []
        self.failures: list[Exception] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def fail(self, error: Exception) -> None:
        self.failures.append(error)


def watch_over(*wires: Wire, waking: Waking | None = None, company: int = 1) -> Watch:
    guests = Guests(on_asked=lambda connection, message: None, tell=lambda fact: None)
    connections = cast(Sequence[Connection], wires)
    return Watch(
        connections=lambda: connections,
        guests=guests,
        iteration=lambda: 3,
        company=lambda: company,
        clock=Clock(),
        tell=lambda fact: None,
        waking=Waking(Clock()) if waking is None else waking,
    )


@pytest.mark.parametrize(("idle_s", "count"), [(0.1, 0), (0.5, 0), (0.95, 1), (2.0, 1)])
def test_look_sends_a_heartbeat_where_nothing_was_sent_for_the_time_of_one(idle_s: float, count: int) -> None:
    wire = Wire(last_sent=100.0 - idle_s, last_heard=100.0)
    watch_over(wire).look(100.0, 0.0)
    assert wire.sent == [Heartbeat(iteration=3)] * count
    assert wire.failures == []


def test_look_beats_less_often_in_a_large_group_but_says_so_first() -> None:
    """Who was told to expect one every second calls three seconds without one a silence."""
    wire = Wire(last_sent=99.0, last_heard=100.0)
    watch = watch_over(wire, company=64)
    watch.look(100.0, 0.0)
    assert wire.sent == [Heartbeat(iteration=3, every_s=4)]
    wire.last_sent = 100.0
    watch.look(103.0, 0.0)
    assert len(wire.sent) == 1
    watch.look(104.0, 0.0)
    assert len(wire.sent) == 2
    watch = watch_over(wire, company=4)
    watch.look(101.0, 0.0)
    assert wire.sent[2:] == [Heartbeat(iteration=3)], "in a smaller group again as often as any"


@pytest.mark.parametrize(("silent_s", "ends"), [(11.9, False), (12.1, True)])
def test_look_awaits_as_long_as_the_other_said(silent_s: float, ends: bool) -> None:
    """It may be of a larger group than this peer knows of."""
    wire = Wire(last_sent=100.0, last_heard=100.0 - silent_s)
    wire.their_beat_s = 4.0
    watch_over(wire, Wire(last_sent=100.0, last_heard=98.0)).look(100.0, 0.0)
    assert bool(wire.failures) is ends


@pytest.mark.parametrize(
    ("silent_s", "own_lag_s", "lag", "ends"),
    [
        (2.9, 0.0, 0.0, False),
        (3.1, 0.0, 0.0, True),
        (3.1, 0.5, 0.0, False),
        (4.1, 0.5, 0.0, True),
        (60.0, 0.0, 1.0, False),
    ],
)
def test_look_ends_who_is_silent_for_longer_than_the_own_lag_explains(
    silent_s: float, own_lag_s: float, lag: float, ends: bool
) -> None:
    wire = Wire(last_sent=100.0, last_heard=100.0 - silent_s)
    watch = watch_over(wire)
    watch.lag_s = own_lag_s
    watch.look(100.0, lag)
    assert bool(wire.failures) is ends


@pytest.mark.parametrize(("silent_s", "ends"), [(7.9, False), (8.1, True)])
def test_look_takes_what_the_own_process_stood_still_for_out_of_the_silence_of_others(
    silent_s: float, ends: bool
) -> None:
    """It looked six times in eight seconds and lived three of them: where many share two processors all are late."""
    waking = Waking(Clock())
    for count in range(7):
        waking.looked(100.0 - (6 - count) * (8.0 / 6))
    wire = Wire(last_sent=100.0, last_heard=100.0 - silent_s)
    watch_over(wire, waking=waking).look(100.0, 0.0)
    assert bool(wire.failures) is ends


@pytest.mark.parametrize(
    ("lags", "remembered"), [((0.4,), 0.4), ((2.0, 0.0), 1.8), ((2.0, 1.9), 1.9), ((6.0,), 0.0), ((0.4, 60.0), 0.36)]
)
def test_lag_is_remembered_for_a_while_but_a_stop_is_not(lags: tuple[float, ...], remembered: float) -> None:
    """A process that was stopped for a minute would take three more for patience with others."""
    watch = watch_over()
    for lag in lags:
        watch.remember(lag)
    assert watch.lag_s == pytest.approx(remembered)
