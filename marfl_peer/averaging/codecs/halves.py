"""Two bytes a value: bfloat16 keeps the range of float32, float16 more of the digits. Rounded to nearest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marfl_peer.averaging import kernels
from marfl_peer.averaging.kernels import BITS


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
        if kernels.native is not None and self.name in BITS:
            told = None if decoded is None else decoded.numpy()
            kernels.native.encode(BITS[self.name], values.numpy(), None, None, chances.numpy(), out.numpy(), told, None)
            return
        most = torch.finfo(self.dtype).max
        # cheaper than clamping every value: hardly ever is there one to clamp
        low, high = torch.aminmax(values) if values.numel() else (values.new_zeros(()), values.new_zeros(()))
        if float(high) > most or float(low) < -most:
            values = values.clamp(-most, most)
        halves = out.view(self.dtype).copy_(values)
        if decoded is not None:
            decoded.copy_(halves)

    def decode(self, encoded: Tensor, out: Tensor) -> None:
        if kernels.native is not None and self.name in BITS:
            kernels.native.decode(BITS[self.name], encoded.numpy(), None, out.numpy())
            return
        out.copy_(encoded.view(self.dtype))


BFLOAT16 = Half("bfloat16", torch.bfloat16)
FLOAT16 = Half("float16", torch.float16)
