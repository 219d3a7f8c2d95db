"""The arithmetic of an exchange in C, where this package was built with a compiler (`_kernels.c`).

numpy does the same in the modules that ask for it, with the same bits: members of one group may differ in what they
have. What is here goes through memory once, which takes a fifth of numpy's time where values are encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]

BITS: Mapping[str, int] = MappingProxyType({"int8": 8, "int4": 4, "bfloat16": 16})
"""How `Kernels` knows the codecs that it encodes."""


class Left(NamedTuple):
    """What an encoding of n values left over: steps int16 [b, 128] with a scale each, float32 [b], of all b whole
    blocks, and the values behind them as they are, float32 [n % 128]."""

    steps: NDArray[np.int16]
    scales: Floats
    rest: Floats


class Kernels(Protocol):
    """All arrays are contiguous. Raises: ValueError for one of another size."""

    def encode(
        self,
        bits: int,
        values: Floats,
        base: Floats | None,
        before: Left | None,
        chances: Floats,
        out: Bytes,
        decoded: Floats | None,
        left: Left | None,
        /,
    ) -> None:
        """Of values [n], less base [n] and plus what was left over before: out [encoded_bytes(n)], what everybody
        decodes from it, [n], and what is left over now."""
        ...

    def decode(self, bits: int, encoded: Bytes, base: Floats | None, out: Floats, /) -> None:
        """out [n] <- what `encoded` stands for, and base [n]."""
        ...

    def combine(
        self,
        bits: int,
        parts: Sequence[Bytes | None],
        factors: Sequence[float],
        own: Floats,
        base: Floats | None,
        before: Left | None,
        chances: Floats,
        out: Bytes,
        result: Floats,
        left: Left | None,
        /,
    ) -> bool:
        """The sum of factors[k] times what parts[k] stand for, in that order; None for `own` [n] less base [n]. Of that
        sum, and what was left over before: out [encoded_bytes(n)], result [n] <- what everybody decodes from it and
        base, and what is left over now. Returns whether the sum was finite."""
        ...

    def mean(self, out: Floats, parts: Sequence[Floats], factors: Sequence[float], /) -> bool:
        """out [n] <- sum_k factors[k] * parts[k], in that order; `out` may be the first of the parts. Returns whether
        it is finite."""
        ...

    def is_finite(self, values: Floats, /) -> bool:
        """Whether no value [n] is NaN or infinite."""
        ...


def _built() -> Kernels | None:
    try:
        return cast(Kernels, import_module("marfl_peer.averaging._kernels"))
    except ImportError:
        return None


native: Kernels | None = _built()
"""None where there was no compiler."""
