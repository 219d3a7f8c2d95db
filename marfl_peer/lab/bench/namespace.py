"""Moves this process into a network namespace that `ip netns add` has made. Linux; needs root.

`os.setns` came with Python 3.12 only: the C library's own is called. It moves the calling thread: threads that are
started afterwards follow, those that run already stay where they are.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from marfl_peer.errors import MarflError

FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000


def enter_namespace(name: str) -> None:
    """Sockets that are opened from now on are in the namespace; none for "". Raises: MarflError."""
    if not name:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with (FOLDER / name).open("rb") as file:
            if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
    except OSError as error:
        raise MarflError(f"network namespace {name} could not be entered: {error.strerror}") from error
