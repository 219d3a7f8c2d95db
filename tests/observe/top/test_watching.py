from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from marfl_peer.observe.top.keys import Key
from marfl_peer.observe.top.rows import Row
from marfl_peer.observe.top.screen import Choice
from marfl_peer.observe.top.watching import Watching

ROWS = [Row(address=f"h:{index}") for index in range(50)]


def watch(*keys: Key, looks: int = 3) -> list[tuple[int, Choice]]:
    """What was drawn: how many rows, and the choice. Keys are pressed at the second look, the end at the last."""
    drawn: list[tuple[int, Choice]] = []
    count = 0

    async def look() -> Sequence[Row]:
        nonlocal count
        count += 1
        if count == 2:
            for key in keys:
                watching.press(key)
        if count == looks:
            watching.press(Key.QUIT)
        return ROWS

    def show(rows: Sequence[Row], choice: Choice, seconds: float) -> None:
        drawn.append((len(rows), choice))

    watching = Watching(look, show, page=lambda: 10, interval_s=0.001)
    asyncio.run(watching.run())
    return drawn


def test_it_looks_again_and_again_until_it_is_over() -> None:
    assert [rows for rows, _ in watch(looks=4)[:3]] == [50, 50, 50]


def test_keys_show_at_once() -> None:
    drawn = watch(Key.REVERSE, Key.PAGE_DOWN)
    assert [(choice.is_reversed, choice.above) for _, choice in drawn[:4]] == [
        *((False, 0), (True, 0), (True, 10), (True, 10)),
    ]


def test_a_look_that_takes_long_is_given_up_at_the_end() -> None:
    async def main() -> bool:
        started, was_cancelled = asyncio.Event(), False

        async def look() -> Sequence[Row]:
            nonlocal was_cancelled
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                was_cancelled = True
                raise
            return ()

        watching = Watching(look, lambda *_: None, page=lambda: 10, interval_s=1.0)
        running = asyncio.create_task(watching.run())
        await started.wait()
        watching.stop()
        await running
        return was_cancelled

    assert asyncio.run(main())


def test_failure_of_a_look_ends_it_with_that_failure() -> None:
    async def look() -> Sequence[Row]:
        raise ValueError("broken")

    watching = Watching(look, lambda *_: None, page=lambda: 10, interval_s=1.0)
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(watching.run())
