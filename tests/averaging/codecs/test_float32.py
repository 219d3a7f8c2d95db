"""The codec that changes nothing: the bytes are the tensor's memory."""

from __future__ import annotations

import struct

import pytest
import torch

from marfl_peer.averaging.codecs.float32 import BYTES_A_VALUE, as_bytes


def test_bytes_are_little_endian_floats() -> None:
    values = [1.5, -0.0, 3.25e-20]
    assert bytes(as_bytes(torch.tensor(values))) == struct.pack("<3f", *values)


def test_bytes_written_are_the_tensors_values() -> None:
    values = torch.zeros(4)
    as_bytes(values[1:3])[:] = struct.pack("<2f", 7.0, 8.0)
    assert values.tolist() == [0.0, 7.0, 8.0, 0.0]


def test_bytes_of_a_slice_are_its_own() -> None:
    values = torch.arange(10, dtype=torch.float32)
    assert len(as_bytes(values[2:7])) == 5 * BYTES_A_VALUE
    assert bytes(as_bytes(values[2:7])) == bytes(as_bytes(values))[2 * BYTES_A_VALUE : 7 * BYTES_A_VALUE]


def test_bytes_of_nothing() -> None:
    assert len(as_bytes(torch.empty(0))) == 0


def test_bytes_of_a_strided_tensor_are_refused() -> None:
    with pytest.raises(TypeError):
        as_bytes(torch.zeros(10)[::2])
