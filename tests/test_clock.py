from __future__ import annotations

import asyncio
import time

import pytest

from marfl_peer.clock import Clock


def test_now_is_the_time_of_the_running_loop() -> None:
    async def both() -> tuple[float, float, float]:
        loop = asyncio.get_running_loop()
        return loop.time(), Clock().now(), loop.time()

    before, now, after = asyncio.run(both())
    assert before <= now <= after


def test_now_without_a_loop_raises() -> None:
    with pytest.raises(RuntimeError):
        Clock().now()


def test_wall_is_seconds_since_the_epoch() -> None:
    before = time.time()
    assert before <= Clock().wall() <= time.time()
