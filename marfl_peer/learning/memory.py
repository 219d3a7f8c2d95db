"""Gives memory that a local update no longer needs back to the system: many peers share one host, and glibc keeps
what was freed. Where the C library cannot do it, nothing happens."""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def memory_releaser() -> Callable[[], None]:
    """A function that returns freed memory to the system; about 10 ms after a local update of 1.2 M parameters."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda: None

    def release() -> None:
        trim(ctypes.c_size_t(0))

    return release
