"""Parts find their place only where they are awaited, from whom they are awaited."""

from __future__ import annotations

import asyncio

import pytest
import torch
from averaging_peers import Averager, averagers, until
from states_of_peers import states_of

from marfl_peer.averaging.codecs.float32 import as_bytes
from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.peer.download import Download
from marfl_peer.peer.states import State
from marfl_peer.protocol.messages import StatePart
from marfl_peer.protocol.parts import PART_BYTES

LENGTH = PART_BYTES // 4 + 25


def download_of(peer: Averager) -> Download:
    return Download(iteration=3, length=LENGTH, links=peer.links, clock=Clock())


def part(offset: int, iteration: int = 3) -> StatePart:
    return StatePart(iteration=iteration, offset=offset)


def later() -> float:
    return asyncio.get_running_loop().time() + 20.0


def test_part_has_room_only_where_it_is_awaited_and_only_its_own_size(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10, connect=False) as (one, other):
            download = download_of(one)
            one.links.send = lambda *_: None  # type: ignore[method-assign]
            assert download.room(other.me, part(0), PART_BYTES) is None, "nobody was asked"
            download.add(other.me)
            running = asyncio.create_task(download.run(later()))
            await until(lambda: download.queue.awaits(other.me, 0))
            for offset, length in ((0, 5), (0, PART_BYTES + 4), (PART_BYTES, 104)):
                with pytest.raises(RemoteProtocolError):
                    download.room(other.me, part(offset), length)
            assert download.room(other.me, part(1), PART_BYTES) is None
            assert download.room(one.me, part(0), PART_BYTES) is None
            assert download.room(other.me, part(0, iteration=4), PART_BYTES) is None
            download.arrived(other.me, part(0))
            assert download.received_bytes == 0, "it had no room: its bytes are nowhere"
            for offset, length in ((0, PART_BYTES), (PART_BYTES, 100)):
                room = download.room(other.me, part(offset), length)
                assert room is not None
                room[:] = bytes([offset % 7 + 1]) * length
                download.arrived(other.me, part(offset))
            assert await running
            expected = bytes([1]) * PART_BYTES + bytes([PART_BYTES % 7 + 1]) * 100
            assert as_bytes(download.vector) == expected

    on_loop(main())


def test_source_that_was_given_up_in_the_middle_of_a_part_writes_nowhere(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10, connect=False) as (one, other):
            download = download_of(one)
            one.links.send = lambda *_: None  # type: ignore[method-assign]
            download.add(other.me)
            running = asyncio.create_task(download.run(later()))
            await until(lambda: download.queue.awaits(other.me, 0))
            download.vector.zero_()
            room = download.room(other.me, part(0), PART_BYTES)
            download.drop(other.me)
            assert not await running, "no source is left"
            room[:] = b"\1" * PART_BYTES
            download.arrived(other.me, part(0))
            assert not bool(download.vector.any())

    on_loop(main())


def test_source_that_comes_later_gives_what_another_left(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, 10) as (silent, giver, taker):
            vector = torch.randn(LENGTH)
            states = states_of(giver)
            states.agree(State(3, vector, ()))
            download = download_of(taker)
            taker.switchboard.catching_up = _Takes(download)  # type: ignore[assignment]
            download.add(silent.me)
            running = asyncio.create_task(download.run(later()))
            await until(lambda: download.queue.awaits(silent.me, 0))
            download.add(giver.me)
            download.drop(silent.me)
            assert await running
            assert torch.equal(download.vector, vector)
            assert download.queue.shares() == [(giver.me, 2)]
            await states.close()

    on_loop(main())


def test_download_ends_by_its_deadline(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as (silent, taker):
            download = download_of(taker)
            download.add(silent.me)
            assert not await download.run(asyncio.get_running_loop().time() + 0.05)
            assert download.queue.sources == [silent.me], "it had more time than this"

    on_loop(main())


def test_those_whose_parts_differ_are_named(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10, connect=False) as (one, other):
            mixed, true = download_of(one), download_of(one)
            mixed.vector.zero_()
            true.vector.zero_()
            mixed.queue.given_by.update({0: one.me, PART_BYTES: other.me})
            assert mixed.differing(true) == []
            mixed.vector[-1] = 1.0
            assert mixed.differing(true) == [other.me]

    on_loop(main())


class _Takes:
    """Stands for `catching_up`."""

    def __init__(self, download: Download) -> None:
        self.room = download.room
        self.part_arrived = download.arrived
        self.gone = download.drop
