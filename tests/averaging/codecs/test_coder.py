"""What one peer encodes in one exchange, and what all others make of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from marfl_peer.averaging.codecs.coder import Coder
from marfl_peer.averaging.codecs.layout import Layout, Section
from marfl_peer.averaging.codecs.registry import codec_named
from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.averaging.kernels import Bytes, Floats
from marfl_peer.errors import RemoteProtocolError

LENGTH = 700
SEGMENTS = ((0, 301), (301, 600), (600, 700))
LAYOUT = Layout(
    (
        Section(0, 301, codec_named("int8"), is_delta=True),
        Section(301, 600, codec_named("int4"), is_delta=False),
        Section(600, 700, codec_named("float32"), is_delta=False),
    )
)
BASE = torch.randn(LENGTH, generator=torch.Generator().manual_seed(1))


def coder(salt: str = "run 1 2 0", residuals: Residuals | None = None, layout: Layout = LAYOUT) -> Coder:
    return Coder(layout, base=BASE, residuals=residuals or Residuals(), salt=salt)


def left_over(values: Tensor) -> Residuals:
    """Of the first segment."""
    left = Residuals(LENGTH)
    left.keep(0, values, is_whole=False)
    return left


def near_base(seed: int) -> Tensor:
    return BASE + 0.01 * torch.randn(LENGTH, generator=torch.Generator().manual_seed(seed))


def sent(by: Coder, vector: Tensor) -> tuple[list[Bytes], Floats]:
    """(segments as they travel, what the encoder itself keeps of the vector)."""
    data, kept = [], np.full(LENGTH, math.nan, np.float32)
    for start, stop in SEGMENTS:
        encoded = by.encode_part(vector.numpy(), start, stop)
        assert len(encoded) == by.encoded_bytes(start, stop)
        by.put_on_(kept, by.decode(encoded, start, stop), start, stop)
        data.append(encoded)
    return data, kept


def received(by: Coder, data: list[Bytes]) -> Floats:
    out = np.full(LENGTH, math.nan, np.float32)
    for (start, stop), segment in zip(SEGMENTS, data, strict=True):
        by.put_on_(out, by.decode(segment, start, stop), start, stop)
    return out


@given(seed=st.integers(0, 2**32))
def test_everybody_decodes_what_the_encoder_keeps(seed: int) -> None:
    """Whatever place and residuals the others have: only the base is in what they decode."""
    vector = near_base(seed)
    data, kept = sent(coder(), vector)
    elsewhere = coder(salt="elsewhere", residuals=left_over(torch.ones(301)))
    assert np.array_equal(received(elsewhere, data), kept)
    assert np.abs(kept - vector.numpy())[:301].max() < 0.001
    assert np.array_equal(kept[600:], vector[600:].numpy())
    added_at_once = np.full(LENGTH, math.nan, np.float32)
    for (start, stop), segment in zip(SEGMENTS, data, strict=True):
        elsewhere.decode_on_(added_at_once, segment, start, stop)
    assert np.array_equal(added_at_once, kept)


def test_parallel_exchanges_with_equal_inputs_round_equally_and_others_do_not() -> None:
    vector, left = near_base(3), left_over(torch.full((301,), 1e-4))
    one, same, other = (sent(coder(salt, left), vector)[0] for salt in ("run 1 2 0", "run 1 2 0", "run 1 2 1"))
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])
    assert np.array_equal(one[2], other[2])


def test_differences_are_from_the_base() -> None:
    vector = near_base(4)
    assert np.array_equal(coder().taken_off(vector.numpy(), 0, 301), (vector[:301] - BASE[:301]).numpy())
    assert np.array_equal(coder().taken_off(vector.numpy(), 301, 600), vector[301:600].numpy())


def test_what_was_sent_adds_up_to_what_was_to_be_sent_but_for_what_is_left() -> None:
    residuals = Residuals()
    total, wanted = torch.zeros(LENGTH, dtype=torch.float64), torch.zeros(LENGTH, dtype=torch.float64)
    for iteration in range(40):
        by, vector = coder(f"run {iteration} 1 0", residuals), near_base(iteration)
        for start, stop in SEGMENTS:
            # as owners encode what they combined: they keep what all others decode from it
            encoded, decoded = by.encode_result(by.taken_off(vector.numpy(), start, stop), start)
            assert np.array_equal(by.decode(encoded, start, stop), decoded)
            total[start:stop] += torch.from_numpy(decoded)
            wanted[start:stop] += torch.from_numpy(by.taken_off(vector.numpy(), start, stop))
        residuals = by.left
    segments = [residuals.at(start) for start, _ in SEGMENTS]
    left = torch.cat([segment for segment in segments if segment is not None]).double()
    # 40 times half a step in which what int4 leaves is kept: at most 1/7 of the largest value, over 32767
    assert torch.allclose(total + left, wanted, rtol=0, atol=40 * 4 / 7 / 32767 / 2)
    assert torch.allclose((total + left)[:301], wanted[:301], rtol=0, atol=1e-5)
    assert left[:301].abs().max() < 0.001


def test_base_and_residuals_are_left_as_they_are() -> None:
    before, left = BASE.clone(), left_over(torch.ones(301))
    sent(coder(residuals=left), near_base(5))
    assert torch.equal(before, BASE)
    assert list(left) == [0]
    assert torch.equal(left.at(0), torch.ones(301))


def test_only_what_is_not_exact_is_encoded() -> None:
    assert [coder().encodes(start) for start, _ in SEGMENTS] == [True, True, False]


def test_bytes_that_stand_for_no_values_are_refused() -> None:
    layout = Layout((Section(0, LENGTH, codec_named("topk:0.01"), is_delta=False),))
    by = coder(layout=layout)
    with pytest.raises(RemoteProtocolError) as caught:
        by.decode(np.full(by.encoded_bytes(0, LENGTH), 0xFF, np.uint8), 0, LENGTH)
    assert caught.value.code == "bad_codec"
