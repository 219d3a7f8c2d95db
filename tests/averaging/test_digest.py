from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.averaging.codecs.float32 import as_bytes
from marfl_peer.averaging.digest import Hasher, digest_of
from marfl_peer.protocol.messages import DIGEST_BYTES


def test_digest_is_blake3() -> None:
    """The first test vector of its authors."""
    assert digest_of(memoryview(b"")).hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


@given(data=st.binary(max_size=4000), cuts=st.lists(st.integers(0, 4000), max_size=6))
def test_digest_is_the_same_however_the_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    hasher, view = Hasher(), memoryview(data)
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in pairwise(borders):
        hasher.update(view[start:stop])
    assert hasher.digest() == digest_of(view)
    assert len(hasher.digest()) == DIGEST_BYTES


def test_digest_of_a_tensor_changes_with_one_bit() -> None:
    vector = torch.arange(1000, dtype=torch.float32)
    before = digest_of(as_bytes(vector))
    as_bytes(vector)[1234] ^= 1
    assert digest_of(as_bytes(vector)) != before
