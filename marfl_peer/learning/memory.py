"""How the C library of this process keeps freed memory: many peers share one host, and glibc is made for speed alone.

Only glibc can be told; elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Of malloc.h."""
_MIB = 1 << 20
_FRUGAL = {_MMAP_THRESHOLD: 2 * _MIB, _TRIM_THRESHOLD: 4 * _MIB, _ARENA_MAX: 1}
"""Vectors lie apart and go back to the system when they are freed; segments, of which encoding needs some hundreds a
second for a moment, do not: with a threshold of 128 KiB encoding took twice the time."""
_AMPLE = {_MMAP_THRESHOLD: 32 * _MIB, _TRIM_THRESHOLD: 1024 * _MIB}
"""About what glibc finds by itself in training: activations are some MiB each, and as frugal as above a mini-batch of
the MNIST task took 1.7 times as long."""


class Heap:
    """The memory of a process. It stays as glibc has it until somebody whose process it is calls `be_frugal`."""

    def __init__(self) -> None:
        self._is_frugal = False
        self._set, self._trim = _functions()

    def be_frugal(self) -> None:
        """Freed memory goes back to the system early, except during `hard_work`."""
        self._is_frugal = True
        self._tell(_FRUGAL)

    @contextmanager
    def hard_work(self) -> Iterator[None]:
        """Much memory is needed again and again, and then given back: about 10 ms after a local update of 1.2 M
        parameters."""
        if self._is_frugal:
            self._tell(_AMPLE)
        try:
            yield
        finally:
            if self._is_frugal:
                self._tell(_FRUGAL)
            self._trim(0)

    def _tell(self, options: dict[int, int]) -> None:
        for option, value in options.items():
            self._set(option, value)


def _functions() -> tuple[Callable[[int, int], object], Callable[[int], object]]:
    """mallopt and malloc_trim."""
    try:
        library = ctypes.CDLL(None)
        set_option, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError):
        return lambda option, value: None, lambda pad: None
    set_option.argtypes, trim.argtypes = [ctypes.c_int, ctypes.c_int], [ctypes.c_size_t]
    return set_option, trim
