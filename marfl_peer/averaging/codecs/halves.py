"""Two bytes a value: bfloat16 keeps the range of float32, float16 more of the digits. Rounded to nearest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Half:
    """Values beyond the type's range become its largest one: what is lost is for error feedback to bring back."""

    name: str
    dtype: torch.dtype
    is_exact: bool = False
    leaves_values: bool = False

    def encoded_bytes(self, count: int) -> int:
        return 2 * count

    def encode(self, values: Tensor, out: Tensor, chances: Tensor, decoded: Tensor | None = None) -> None:
        most = torch.finfo(self.dtype).max
        # cheaper than clamping every value: hardly ever is there one to clamp
        low, high = torch.aminmax(values) if values.numel() else (values.new_zeros(()), values.new_zeros(()))
        if float(high) > most or float(low) < -most:
            values = values.clamp(-most, most)
        halves = out.view(self.dtype).copy_(values)
        if decoded is not None:
            decoded.copy_(halves)

    def decode(self, encoded: Tensor, out: Tensor) -> None:
        out.copy_(encoded.view(self.dtype))


BFLOAT16 = Half("bfloat16", torch.bfloat16)
FLOAT16 = Half("float16", torch.float16)
