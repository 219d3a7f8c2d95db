"""Memory that is freed stays with the process: it is wanted again in the next iteration.

Vectors of megabytes are made and dropped in every iteration. Left to itself the C library gives such memory back to the
system, and every page of it then costs a fault, a tenth of an exchange. Only for processes that are a peer and nothing
else.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT_BYTES = 32 * 1024 * 1024
"""What is larger is mapped anew each time: glibc allows no higher threshold."""
_KEPT_BYTES = 1 << 30


def keep_freed_memory(mallopt: Callable[[int, int], int] | None = None) -> bool:
    """Returns whether the C library knows how; only glibc does. `mallopt`: its function of that name."""
    if mallopt is None:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # In this order: the first one alone would have every vector mapped.
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))
