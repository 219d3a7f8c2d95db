"""Whom a dial-only peer dials, and when again: told by a set clock, with links that only note it."""

from __future__ import annotations

import asyncio
import itertools
from typing import cast

import pytest

from marfl_peer.clock import Clock
from marfl_peer.ids import PeerId
from marfl_peer.network.links import Links
from marfl_peer.peer import outgoing as outgoing_module
from marfl_peer.peer.outgoing import Outgoing
from marfl_peer.peer.roster import Roster
from marfl_peer.protocol.dialling import LONGEST_PAUSE_S

ONE, OTHER = PeerId("1" * 40), PeerId("2" * 40)


class Stage(Clock):
    """A clock, a roster and links in one."""

    def __init__(self, *members: PeerId) -> None:
        self.time = 100.0
        self.incarnations = dict.fromkeys(members, 1)
        self.open: set[PeerId] = set()
        self.left: set[PeerId] = set()
        self.dialled_at: list[tuple[PeerId, float]] = []
        self.outgoing = Outgoing(roster=cast(Roster, self), links=cast(Links, self), clock=self)

    def now(self) -> float:
        return self.time

    def dialled(self) -> list[tuple[PeerId, int]]:
        return sorted(self.incarnations.items())

    def is_connected(self, peer: PeerId) -> bool:
        return peer in self.open

    def said_goodbye(self, peer: PeerId) -> bool:
        return peer in self.left

    def connect(self, peer: PeerId) -> None:
        self.dialled_at.append((peer, self.time))

    def look_until(self, time: float, *, step: float = 0.5) -> list[tuple[PeerId, float]]:
        self.dialled_at.clear()
        while self.time < time:
            self.outgoing.look()
            self.time += step
        return self.dialled_at


def test_members_that_are_not_connected_are_dialled() -> None:
    stage = Stage(ONE, OTHER)
    stage.open = {OTHER}
    assert stage.look_until(100.5) == [(ONE, 100.0)]


def test_member_that_does_not_answer_rests_ever_longer() -> None:
    stage = Stage(ONE)
    times = [time for _, time in stage.look_until(400.0)]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert set(pauses[5:]) == {LONGEST_PAUSE_S}


def test_connection_that_broke_is_dialled_at_once() -> None:
    stage = Stage(ONE)
    stage.look_until(107.0)
    stage.open = {ONE}
    assert stage.look_until(108.0) == []
    stage.open = set()
    assert stage.look_until(108.5) == [(ONE, 108.0)]


def test_member_that_said_goodbye_is_left_in_peace_until_its_next_life() -> None:
    stage = Stage(ONE)
    stage.open = {ONE}
    stage.look_until(101.0)
    stage.open, stage.left = set(), {ONE}
    assert stage.look_until(200.0) == []
    stage.incarnations[ONE] = 2
    assert stage.look_until(200.5) == [(ONE, 200.0)]


def test_it_goes_on_looking_by_itself_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing_module, "TICK_S", 0.0)

    async def main() -> None:
        stage = Stage(ONE)
        stage.outgoing.open()
        while len(stage.dialled_at) < 3:
            stage.time += 10.0
            await asyncio.sleep(0)
        await stage.outgoing.close()
        count = len(stage.dialled_at)
        stage.time += 1000.0
        await asyncio.sleep(0)
        assert len(stage.dialled_at) == count

    asyncio.run(main())
