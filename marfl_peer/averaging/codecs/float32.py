"""Values as they are: little-endian float32, the memory of the tensor itself, without a copy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BYTES_A_VALUE = 4


def as_bytes(values: Tensor) -> memoryview:
    """The memory of a contiguous float32 CPU tensor [n] as 4n writable bytes."""
    return memoryview(values.numpy()).cast("B")  # type: ignore[arg-type]  # numpy arrays are buffers


@dataclass(frozen=True, slots=True)
class Float32:
    """As a codec: where values pass through one anyway."""

    name: str = "float32"
    is_exact: bool = True
    leaves_values: bool = False

    def encoded_bytes(self, count: int) -> int:
        return BYTES_A_VALUE * count

    def encode(self, values: Tensor, out: Tensor, chances: Tensor, decoded: Tensor | None = None) -> None:
        if values.numel():  # a view of nothing has no stride
            out.copy_(values.view(torch.uint8))
        if decoded is not None:
            decoded.copy_(values)

    def decode(self, encoded: Tensor, out: Tensor) -> None:
        out.view(torch.uint8).copy_(encoded)


FLOAT32 = Float32()
