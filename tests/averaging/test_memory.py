from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from marfl_peer.averaging.memory import keep_freed_memory

FAULTS_OF_TWO_ITERATIONS = """
import resource, torch
from marfl_peer.averaging.memory import keep_freed_memory

torch.set_num_threads(1)
torch.zeros(8)
if {keep}:
    assert keep_freed_memory()
faults = []
for _ in range(40):
    vectors = [torch.ones(2_500_000) for _ in range(4)]
    del vectors
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[-3])
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_vectors_in_place_of_those_that_were_dropped_cost_no_page_faults() -> None:
    def faults(keep: bool) -> int:
        program = FAULTS_OF_TWO_ITERATIONS.format(keep=keep)
        return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)

    assert faults(keep=True) < 500
    assert faults(keep=True) < faults(keep=False)


def test_threshold_of_mappings_is_set_before_that_of_trimming() -> None:
    """The other way round every vector would be mapped, and unmapped."""
    options: list[int] = []

    def mallopt(option: int, value: int) -> int:
        options.append(option)
        return 1

    assert keep_freed_memory(mallopt)
    assert options == [-3, -1]
    assert not keep_freed_memory(lambda option, value: 0)
