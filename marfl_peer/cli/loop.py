"""Which event loop commands run on: uvloop where it is installed, asyncio's own elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

Result = TypeVar("Result")

try:
    import uvloop
except ImportError:  # Windows, or a Python that uvloop has no wheel for
    LOOP_FACTORY: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    LOOP_FACTORY = uvloop.new_event_loop


def run(main: Coroutine[object, object, Result]) -> Result:
    """Runs a coroutine to its end on a new event loop."""
    with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
        return runner.run(main)
