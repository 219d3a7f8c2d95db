"""What the C library does with freed memory is told in a process of its own: nobody can set it back."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from marfl_peer.learning.memory import Heap

MIB = 1 << 20
PROBE = """
import ctypes, sys
from marfl_peer.learning.memory import Heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "o", "s", "h", "hblkhd", "u", "f", "uo", "fo", "k")]

libc.mallinfo2.restype = Info

def lies_apart(mib):
    before = libc.mallinfo2().hblkhd
    block = libc.malloc(mib << 20)
    after = libc.mallinfo2().hblkhd
    libc.free(block)
    return after > before

libc.free(libc.malloc(16 << 20))  # from now on glibc takes blocks of up to 16 MiB from the heap
heap = Heap()
if "frugal" in sys.argv:
    heap.be_frugal()
before = lies_apart(9)
with heap.hard_work():
    during = lies_apart(9)
print(before, during, lies_apart(9))
"""


def probed(*arguments: str) -> list[bool]:
    """Whether a vector lies apart from the heap, and so goes back when it is freed: before, during, after hard work."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return [word == "True" for word in done.stdout.split()]


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_frugal_heap_keeps_vectors_apart_but_not_during_hard_work() -> None:
    assert probed("frugal") == [True, False, True]


def test_heap_of_somebody_elses_process_is_left_as_it_is() -> None:
    assert probed() == [False, False, False]


def test_hard_work_gives_freed_heap_memory_back() -> None:
    heap = Heap()
    with heap.hard_work():
        pass
    # Below the size that glibc maps apart, and with a live block on top, so that freeing alone gives nothing back.
    with heap.hard_work():
        blocks = [torch.ones(16 * 1024) for _ in range(1024)]
        keep = torch.ones(16 * 1024)
        del blocks
        before = resident_bytes()
    assert resident_bytes() < before - 32 * MIB
    assert keep.sum() == 16 * 1024


def test_memory_is_given_back_after_work_that_failed() -> None:
    trimmed: list[int] = []
    heap = Heap()
    heap._trim = trimmed.append
    with pytest.raises(ValueError, match="too hard"), heap.hard_work():
        raise ValueError("too hard")
    assert trimmed == [0]


def test_other_c_libraries_are_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap = Heap()
    heap.be_frugal()
    with heap.hard_work():
        pass
