"""States are written beside the training: one at a time, the latest of those that wait, and the last for certain."""

from __future__ import annotations

import asyncio
import threading

from averaging_peers import until

from marfl_peer.clock import Clock
from marfl_peer.errors import ConfigError
from marfl_peer.facts import Fact, StateNotSaved, StateSaved
from marfl_peer.peer.saving import Saver, Unsaved


class Disk:
    """Writes when it is let."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.started: list[int] = []

    def state(self, iteration: int) -> Unsaved:
        def write() -> int:
            self.started.append(iteration)
            self.free.wait(10.0)
            return 10 * iteration

        return Unsaved(iteration, write)


def test_of_those_that_wait_only_the_latest_is_written(on_both_loops) -> None:
    async def main() -> None:
        facts: list[Fact] = []
        saver, disk = Saver(clock=Clock(), tell=facts.append), Disk()
        await saver.flush()
        saver.save(disk.state(1))
        await until(lambda: bool(disk.started))
        for iteration in (2, 3, 4):
            saver.save(disk.state(iteration))
        assert facts == [], "nobody waits for the disk"
        disk.free.set()
        await saver.flush()
        assert disk.started == [1, 4]
        assert [(fact.iteration, fact.bytes_written) for fact in facts if isinstance(fact, StateSaved)] == [
            (1, 10),
            (4, 40),
        ]
        saver.save(disk.state(5))
        await saver.close()
        assert disk.started == [1, 4, 5], "the last is written before the end"

    on_both_loops(main())


def test_disk_that_cannot_be_written_is_told_and_tried_again(on_loop) -> None:
    async def main() -> None:
        facts: list[Fact] = []
        saver = Saver(clock=Clock(), tell=facts.append)

        def fail() -> int:
            raise ConfigError("file", "state", "cannot be written (no space left on device): make room")

        saver.save(Unsaved(1, fail))
        await saver.flush()
        saver.save(Unsaved(2, lambda: 7))
        await asyncio.wait_for(saver.close(), 10.0)
        assert [type(fact) for fact in facts] == [StateNotSaved, StateSaved]
        assert "no space" in facts[0].detail

    on_loop(main())
