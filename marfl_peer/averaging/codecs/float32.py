"""Values as they are: little-endian float32, the memory of the tensor itself, without a copy."""

from __future__ import annotations

from torch import Tensor

BYTES_A_VALUE = 4


def as_bytes(values: Tensor) -> memoryview:
    """The memory of a contiguous float32 CPU tensor [n] as 4n writable bytes."""
    return memoryview(values.numpy()).cast("B")  # type: ignore[arg-type]  # numpy arrays are buffers
