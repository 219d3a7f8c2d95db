"""Ctrl+C and SIGTERM for a daemon: the first one asks it to leave, the second one ends it at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from types import TracebackType

from marfl_peer.cli.exit_codes import of_signal

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Handles the signals of the running loop while it is entered.

    `received` is the number of the first signal, None before it. Whoever can leave more gracefully than
    before says so with `ask_with`; if a signal is already there, it is asked at once.
    """

    def __init__(self, ask: Callable[[], object], *, end: Callable[[int], object] = os._exit) -> None:
        self.received: int | None = None
        self._ask = ask
        self._end = end

    def __enter__(self) -> StopSignals:
        self._loop = asyncio.get_running_loop()
        for number in NUMBERS:
            self._loop.add_signal_handler(number, self.handle, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in NUMBERS:
            self._loop.remove_signal_handler(number)

    def ask_with(self, ask: Callable[[], object]) -> None:
        """From now on the first signal calls `ask`."""
        self._ask = ask
        if self.received is not None:
            ask()

    def handle(self, number: int) -> None:
        """What a signal does."""
        if self.received is not None:
            self._end(of_signal(number))
            return
        self.received = number
        self._ask()
