"""Time as an argument: whoever needs it is handed a clock."""

from __future__ import annotations

import asyncio
import time
from typing import NewType

Deadline = NewType("Deadline", float)
"""An absolute time on the event loop's monotonic clock, in seconds."""


class Clock:
    """Monotonic time from the running event loop (virtual under a virtual loop) and wall time for expiries."""

    def now(self) -> float:
        """Seconds on the loop's monotonic clock."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()
