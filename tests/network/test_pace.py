"""A few handshakes at a time, in the order in which they were asked for; nobody holds a place for long."""

from __future__ import annotations

import asyncio

import pytest

from marfl_peer.clock import Clock
from marfl_peer.network import pace as pace_module
from marfl_peer.network.pace import Pace
from marfl_peer.network.waking import Waking


class Dials:
    """Those that hold a place, until they are told that they are over."""

    def __init__(self, pace: Pace) -> None:
        self.begun: list[int] = []
        self.over = [asyncio.Event() for _ in range(6)]
        self._pace = pace

    async def dial(self, number: int) -> None:
        async with self._pace.place():
            self.begun.append(number)
            await self.over[number].wait()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_places_are_given_in_turn(on_loop) -> None:
    async def main() -> None:
        dials = Dials(Pace(Waking(Clock()), at_a_time=2))
        tasks = [asyncio.ensure_future(dials.dial(number)) for number in range(5)]
        await turns()
        assert dials.begun == [0, 1]
        dials.over[1].set()
        await turns()
        assert dials.begun == [0, 1, 2]
        for event in dials.over:
            event.set()
        await asyncio.gather(*tasks)
        assert dials.begun == [0, 1, 2, 3, 4]

    on_loop(main())


def test_who_is_called_off_leaves_its_place_to_the_next(on_loop) -> None:
    async def main() -> None:
        dials = Dials(Pace(Waking(Clock()), at_a_time=1))
        tasks = [asyncio.ensure_future(dials.dial(number)) for number in range(4)]
        await turns()
        tasks[1].cancel()  # while it waits
        dials.over[0].set()
        await turns()
        assert dials.begun == [0, 2]
        tasks[2].cancel()  # in its place
        await turns()
        assert dials.begun == [0, 2, 3]
        dials.over[3].set()
        await tasks[3]
        last = asyncio.ensure_future(dials.dial(4))
        await turns()
        assert dials.begun == [0, 2, 3, 4]
        dials.over[4].set()
        await last

    on_loop(main())


def test_who_is_called_off_in_the_moment_in_which_it_is_given_a_place_leaves_it(on_loop) -> None:
    async def main() -> None:
        dials = Dials(Pace(Waking(Clock()), at_a_time=1))
        tasks = [asyncio.ensure_future(dials.dial(number)) for number in range(3)]
        await turns()
        tasks[0].cancel()
        await asyncio.sleep(0)  # its place goes to the next, which has not run yet
        tasks[1].cancel()
        await turns()
        assert dials.begun == [0, 2]
        dials.over[2].set()
        await tasks[2]

    on_loop(main())


def test_place_of_who_does_not_answer_is_given_up(on_loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "PLACE_S", 0.01)

    async def main() -> None:
        dials = Dials(Pace(Waking(Clock()), at_a_time=1))
        tasks = [asyncio.ensure_future(dials.dial(number)) for number in range(3)]
        while dials.begun != [0, 1, 2]:  # noqa: ASYNC110 - places are given up by the clock alone
            await asyncio.sleep(0.001)
        for event in dials.over:
            event.set()
        await asyncio.gather(*tasks)
        assert dials._pace._free == 1, "a place is given back once"

    on_loop(main())
