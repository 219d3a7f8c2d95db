from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS
from marfl_peer.averaging.codecs.float32 import FLOAT32
from marfl_peer.averaging.codecs.layout import Layout, Section
from marfl_peer.averaging.codecs.parcel import Packing, bytes_of
from marfl_peer.averaging.codecs.registry import codec_named
from marfl_peer.errors import RemoteProtocolError

THETA, LENGTH = MAX_SEGMENT_FLOATS + 333, MAX_SEGMENT_FLOATS + 400


def packing(codec: str) -> Packing:
    """Theta in a codec, and a few buffers as they are."""
    theta = Section(0, THETA, codec_named(codec), is_delta=codec != "float32")
    return Packing(Layout((theta, Section(THETA, LENGTH, FLOAT32, is_delta=False))))


@given(st.sampled_from(["float32", "bfloat16", "int8", "int4"]))
def test_segments_cover_vector_and_parcel_without_a_gap(codec: str) -> None:
    floats = at = 0
    for start, segment in packing(codec).segments.items():
        assert (segment.start, segment.at) == (start, at) == (floats, at)
        assert 0 < segment.stop - segment.start <= MAX_SEGMENT_FLOATS
        floats, at = segment.stop, at + segment.size
    assert (floats, at) == (LENGTH, packing(codec).total_bytes)
    assert list(packing(codec).segments) == [0, MAX_SEGMENT_FLOATS, THETA]


@pytest.mark.parametrize(
    ("codec", "bytes_a_value", "error"),
    [("float32", 4, 0.0), ("bfloat16", 2, 4e-3), ("int8", 1.02, 2e-2), ("int4", 0.52, 0.4)],
)
def test_vector_comes_out_as_exact_as_its_codec_is(codec: str, bytes_a_value: float, error: float) -> None:
    one = packing(codec)
    base = torch.randn(LENGTH, generator=torch.Generator().manual_seed(1))
    change = 1e-3 * torch.randn(LENGTH, generator=torch.Generator().manual_seed(2))
    parcel = one.wrap(base + change, base, salt="a")
    assert parcel.numel() == one.total_bytes <= bytes_a_value * THETA + 4 * (LENGTH - THETA) + 8
    assert len(bytes_of(parcel)) == one.total_bytes
    out = one.unwrap(parcel, base)
    assert torch.equal(out[THETA:], (base + change)[THETA:])
    # Of the change, not of the values: that is what the base is for.
    assert float((out - (base + change)).norm() / change.norm()) <= error
    assert one.needs_base is (codec != "float32")


def test_vector_as_it_is_is_its_own_parcel() -> None:
    vector = torch.randn(LENGTH)
    assert torch.equal(packing("float32").wrap(vector, None, salt="a"), vector.view(torch.uint8))


def test_chances_follow_from_the_salt() -> None:
    one, base = packing("int4"), torch.zeros(LENGTH)
    vector = torch.randn(LENGTH, generator=torch.Generator().manual_seed(1))
    first, again, other = (one.wrap(vector, base, salt=salt) for salt in ("a", "a", "b"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_bytes_that_stand_for_no_values_give_an_error_or_values_to_check() -> None:
    one = packing("int8")
    junk = torch.full((one.total_bytes,), 255, dtype=torch.uint8)
    try:
        out = one.unwrap(junk, torch.zeros(LENGTH))
    except RemoteProtocolError:
        return
    assert out.numel() == LENGTH
    assert not bool(torch.isfinite(out).all())
