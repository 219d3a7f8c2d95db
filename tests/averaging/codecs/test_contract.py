"""What every codec promises, asked of every one: sizes, bits, zeros, small and odd segments, what feedback brings."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS, Codec, chances, encode_with_feedback
from marfl_peer.averaging.codecs.float32 import FLOAT32
from marfl_peer.averaging.codecs.halves import BFLOAT16, FLOAT16
from marfl_peer.averaging.codecs.quantised import INT4, INT8
from marfl_peer.averaging.codecs.sparse import TopK
from marfl_peer.errors import RemoteProtocolError

CODECS: list[Codec] = [FLOAT32, BFLOAT16, FLOAT16, INT8, INT4, TopK(1 / 16), TopK(0.3), TopK(1.0)]
SIZES = [0, 1, 2, 3, 127, 128, 129, 255, 1000, 65_536, 65_537, MAX_SEGMENT_FLOATS - 1, MAX_SEGMENT_FLOATS]
TINY = torch.finfo(torch.float32).tiny

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


def encoded(codec: Codec, values: Tensor, seed: int = 1) -> Tensor:
    out = torch.full((codec.encoded_bytes(values.numel()),), 0xAA, dtype=torch.uint8)
    codec.encode(values, out, chances(seed, values.numel()))
    return out


def decoded(codec: Codec, data: Tensor, count: int) -> Tensor:
    out = torch.full((count,), math.nan)
    codec.decode(data, out)
    return out


def there_and_back(codec: Codec, values: Tensor, seed: int = 1) -> Tensor:
    return decoded(codec, encoded(codec, values, seed), values.numel())


def normal(count: int, seed: int = 7) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


@every_codec
@pytest.mark.parametrize("count", SIZES)
def test_segment_of_any_size_comes_back_whole(codec: Codec, count: int) -> None:
    values = normal(count)
    back = there_and_back(codec, values)
    assert back.shape == values.shape
    assert torch.isfinite(back).all()
    if codec.is_exact:
        assert torch.equal(back, values)


@every_codec
def test_same_values_and_chances_give_the_same_bytes(codec: Codec) -> None:
    values = normal(1000)
    assert torch.equal(encoded(codec, values), encoded(codec, values.clone()))


@every_codec
@given(data=st.data())
def test_encoder_is_told_what_all_others_decode(codec: Codec, data: st.DataObject) -> None:
    """Bit for bit, zeros' signs included: it keeps that, and they keep theirs."""
    values = torch.tensor(data.draw(arrays("float32", st.integers(0, 300), elements=finite)))
    out, told = torch.empty(codec.encoded_bytes(values.numel()), dtype=torch.uint8), torch.full_like(values, math.nan)
    codec.encode(values, out, chances(data.draw(st.integers(0, 2**63)), values.numel()), told)
    assert torch.equal(decoded(codec, out, values.numel()).view(torch.int32), told.view(torch.int32))


@every_codec
def test_input_is_left_as_it_is(codec: Codec) -> None:
    values = normal(1000)
    before = values.clone()
    encoded(codec, values)
    assert torch.equal(values, before)


@every_codec
def test_zeros_stay_zeros(codec: Codec) -> None:
    assert torch.equal(there_and_back(codec, torch.zeros(300)), torch.zeros(300))


@every_codec
def test_denormal_and_tiny_values_do_no_harm(codec: Codec) -> None:
    values = torch.tensor([TINY, -TINY, TINY / 2, 1e-45, -1e-45, 0.0, 1e-30, -3e-38])
    back = there_and_back(codec, values)
    assert torch.isfinite(back).all()
    assert (back - values).abs().max() <= 1e-30


@every_codec
def test_huge_values_stay_finite(codec: Codec) -> None:
    most = torch.finfo(torch.float32).max
    values = torch.tensor([most, -most, 1.0, 0.0] * 40)
    assert torch.isfinite(there_and_back(codec, values)).all()


@every_codec
def test_error_is_below_one_step(codec: Codec) -> None:
    values = normal(4000)
    error = (there_and_back(codec, values) - values).abs()
    if isinstance(codec, TopK):
        kept = there_and_back(codec, values) != 0
        assert int(kept.sum()) == math.ceil(4000 * codec.fraction)
        assert torch.equal(there_and_back(codec, values)[kept], values[kept])
        assert values[~kept].abs().max() <= values[kept].abs().min() if (~kept).any() else True
    else:
        # the largest value of a block sets its step
        steps = {"float32": 0.0, "bfloat16": 2**-8, "float16": 2**-11, "int8": 1.01 / 127, "int4": 1.01 / 7}
        blocks = torch.nn.functional.pad(values, (0, -4000 % 128)).view(-1, 128).abs().amax(1)
        bound = blocks.repeat_interleave(128)[:4000] * steps[codec.name]
        assert (error <= bound).all()


@every_codec
def test_rounding_is_unbiased_or_fed_back(codec: Codec) -> None:
    """What was sent in many iterations adds up to what was to be sent, but for one residual."""
    values = normal(640) * torch.logspace(-3, 1, 640)
    out = torch.empty(codec.encoded_bytes(640), dtype=torch.uint8)
    sent, got, residual, largest = torch.zeros(640, dtype=torch.float64), torch.empty(640), None, 0.0
    for iteration in range(60):
        drawn = chances(1000 * iteration + 3, 640)
        residual = encode_with_feedback(codec, values, residual, out, drawn, got)
        sent += got.double()
        largest = max(largest, float(residual.abs().max()))
    gap = sent - 60 * values.double()
    assert (gap + residual.double()).abs().max() <= 1e-4 * 60 * values.abs().max()
    assert gap.abs().max() <= largest + 1e-3
    assert largest <= values.abs().max() * 2 / min(getattr(codec, "fraction", 1.0), 0.5)


@every_codec
@given(data=st.data())
def test_any_finite_segment_survives(codec: Codec, data: st.DataObject) -> None:
    values = torch.tensor(data.draw(arrays("float32", st.integers(0, 300), elements=finite)))
    back = there_and_back(codec, values, data.draw(st.integers(0, 2**63)))
    assert torch.isfinite(back).all()
    assert ((back == 0) | (torch.sign(back) == torch.sign(values))).all()


@every_codec
@given(data=st.data())
def test_any_bytes_decode_or_are_refused(codec: Codec, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 200))
    size = codec.encoded_bytes(count)
    raw = torch.tensor(list(data.draw(st.binary(min_size=size, max_size=size))), dtype=torch.uint8)
    try:
        codec.decode(raw, torch.empty(count))
    except RemoteProtocolError as error:
        assert error.code == "bad_codec"


@pytest.mark.parametrize(
    ("codec", "bits"), [(INT8, 8 + 16 / 128), (INT4, 4 + 16 / 128), (BFLOAT16, 16), (TopK(1 / 16), 3)]
)
def test_bytes_are_as_few_as_promised(codec: Codec, bits: float) -> None:
    assert codec.encoded_bytes(MAX_SEGMENT_FLOATS) == MAX_SEGMENT_FLOATS * bits / 8
