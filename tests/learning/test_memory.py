from __future__ import annotations

from pathlib import Path

import torch

from marfl_peer.learning.memory import memory_releaser


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_memory_releaser_gives_freed_heap_memory_back() -> None:
    release = memory_releaser()
    release()
    # Below the size that glibc maps apart, and with a live block on top, so that freeing alone gives nothing back.
    blocks = [torch.ones(16 * 1024) for _ in range(1024)]
    keep = torch.ones(16 * 1024)
    del blocks
    before = resident_bytes()
    release()
    assert resident_bytes() < before - 32 * 1024 * 1024
    assert keep.sum() == 16 * 1024
