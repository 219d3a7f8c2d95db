"""A terminal that gives keys as they are pressed, and is what it was before however this ends.

Knows termios and the event loop; not what keys mean.
"""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import Callable
from types import TracebackType
from typing import Self

LFLAG, CC = 3, 6
READ_BYTES = 1024


class Keyboard:
    """While it is entered, `on_bytes` hears what is typed at the terminal `fd`: at once, without echo.

    Ctrl+C stays a signal. Ctrl+Z comes as a byte, because a shell could not bring the screen back.
    """

    def __init__(self, fd: int, on_bytes: Callable[[bytes], None]) -> None:
        self._fd, self._on_bytes = fd, on_bytes

    def __enter__(self) -> Self:
        """Raises: termios.error where `fd` is no terminal."""
        self._before = termios.tcgetattr(self._fd)
        now = termios.tcgetattr(self._fd)
        now[LFLAG] &= ~(termios.ICANON | termios.ECHO)
        now[CC][termios.VMIN], now[CC][termios.VTIME] = 1, 0
        now[CC][termios.VSUSP] = b"\x00"
        termios.tcsetattr(self._fd, termios.TCSADRAIN, now)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self._fd)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except OSError:
            data = b""
        if not data:  # the terminal is gone
            self._loop.remove_reader(self._fd)
            data = b"q"
        self._on_bytes(data)
