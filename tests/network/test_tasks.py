"""Tasks end with their owner, and none fails unseen."""

from __future__ import annotations

import asyncio
from typing import Any

from marfl_peer.network.tasks import Tasks


def test_close_cancels_and_waits_for_the_cleanup(on_loop) -> None:
    async def main() -> None:
        tasks, steps = Tasks(), []
        running = asyncio.Event()

        async def work() -> None:
            try:
                running.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                steps.append("cleaned up")

        tasks.start(work())
        await running.wait()
        await tasks.close()
        assert steps == ["cleaned up"]

    on_loop(main())


def test_failure_reaches_the_loops_exception_handler(on_loop) -> None:
    async def main() -> None:
        seen: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append(context))
        tasks = Tasks()

        async def work() -> None:
            raise ValueError("amiss")

        await asyncio.wait([tasks.start(work())])
        await asyncio.sleep(0)
        assert [str(context["exception"]) for context in seen] == ["amiss"]
        await tasks.close()

    on_loop(main())


def test_cancelled_task_is_no_failure(on_loop) -> None:
    async def main() -> None:
        tasks = Tasks()
        task = tasks.start(asyncio.sleep(3600))
        tasks.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await tasks.close()

    on_loop(main())


def test_close_from_one_of_the_tasks_leaves_that_one_alone(on_loop) -> None:
    async def main() -> None:
        tasks = Tasks()

        async def closes() -> None:
            await tasks.close()

        task = tasks.start(closes())
        other = tasks.start(asyncio.sleep(3600))
        await asyncio.wait([task])
        assert not task.cancelled()
        assert other.cancelled()

    on_loop(main())


def test_close_twice_does_nothing_more(on_loop) -> None:
    async def main() -> None:
        tasks = Tasks()
        tasks.start(asyncio.sleep(3600))
        await tasks.close()
        await tasks.close()

    on_loop(main())
