"""Chances, which decide what is rounded up, and error feedback, which brings what rounding left over."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS, Codec, chances, encode_with_feedback
from marfl_peer.averaging.codecs.float32 import FLOAT32
from marfl_peer.averaging.codecs.halves import BFLOAT16
from marfl_peer.averaging.codecs.quantised import INT4, INT8
from marfl_peer.averaging.codecs.sparse import TopK

values_of_one_size = st.integers(1, 300).flatmap(
    lambda count: st.lists(arrays("float32", count, elements=st.floats(-100, 100, width=32)), min_size=1, max_size=6)
)


def test_chances_are_uniform_and_below_one() -> None:
    drawn = chances(123456789, MAX_SEGMENT_FLOATS)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert abs(drawn.mean().item() - 0.5) < 0.01


def test_chances_are_those_of_their_seed() -> None:
    """The table is part of the protocol: other numbers at one member would be other bits."""
    assert torch.equal(chances(2**63, 10), chances(2**63, 300)[:10])
    assert not torch.equal(chances(1, 300), chances(2, 300))
    assert (chances(0, 3) * 2**24).tolist() == [1596571, 2428956, 5277660]


@pytest.mark.parametrize("codec", [BFLOAT16, INT8, INT4, TopK(1 / 16), TopK(0.3)], ids=lambda codec: codec.name)
@given(rounds=values_of_one_size, seed=st.integers(0, 2**64))
def test_what_was_sent_and_what_is_left_is_what_was_to_be_sent(codec: Codec, rounds: list, seed: int) -> None:
    """Exactly, in every encoding: value + residual before = decoded + residual after, in float32."""
    residual: Tensor | None = None
    for number, drawn in enumerate(rounds):
        values = torch.from_numpy(drawn)
        before = torch.zeros_like(values) if residual is None else residual.clone()
        out, decoded = torch.empty(codec.encoded_bytes(values.numel()), dtype=torch.uint8), torch.empty_like(values)
        drawn_chances = chances(seed + number, values.numel())
        residual = encode_with_feedback(codec, values, residual, out, drawn_chances, decoded)
        assert torch.equal(residual, (values + before) - decoded)
        again = torch.empty_like(values)
        codec.decode(out, again)
        assert torch.equal(again, decoded)


def test_exact_codec_leaves_nothing() -> None:
    values = torch.randn(100)
    out, decoded = torch.empty(400, dtype=torch.uint8), torch.empty(100)
    residual = encode_with_feedback(FLOAT32, values, None, out, chances(1, 100), decoded)
    assert torch.equal(decoded, values)
    assert not residual.any()
