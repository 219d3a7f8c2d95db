from __future__ import annotations

import math

import pytest
import torch

from marfl_peer.averaging.codecs.codec import chances
from marfl_peer.averaging.codecs.sparse import STRETCH, TopK
from marfl_peer.errors import RemoteProtocolError


def encoded(codec: TopK, values: torch.Tensor) -> torch.Tensor:
    data = torch.empty(codec.encoded_bytes(values.numel()), dtype=torch.uint8)
    codec.encode(values, data, chances(1, values.numel()))
    return data


def test_largest_values_travel_as_they_are() -> None:
    values = torch.tensor([0.1, -5.0, 0.2, 3.0, -0.3])
    out = torch.empty(5)
    TopK(0.4).decode(encoded(TopK(0.4), values), out)
    assert torch.equal(out, torch.tensor([0.0, -5.0, 0.0, 3.0, 0.0]))


def test_every_stretch_keeps_its_own_largest_values() -> None:
    values = torch.zeros(STRETCH + 100)
    values[[5, STRETCH - 1, STRETCH, STRETCH + 99]] = torch.tensor([9.0, -8.0, 0.1, 0.2])
    codec, out = TopK(2 / STRETCH), torch.empty_like(values)
    data = encoded(codec, values)
    assert len(data) == 6 * 3
    codec.decode(data, out)
    values[STRETCH] = 0.0
    assert torch.equal(out, values)


def test_of_equal_magnitudes_the_first_travel_behind_all_that_are_larger() -> None:
    """Lines with equal inputs must encode equally, on any version of any library."""
    values, out = torch.tensor([1.0, 0.5, -1.0, 1.0, 2.0, -1.0, 1.0]), torch.empty(7)
    TopK(4 / 7).decode(encoded(TopK(4 / 7), values), out)
    assert torch.equal(out, torch.tensor([1.0, 0.0, -1.0, 1.0, 2.0, 0.0, 0.0]))
    zeros = torch.zeros(100)
    assert encoded(TopK(0.03), zeros)[:6].view(torch.int16).tolist() == [0, 1, 2]


def test_what_is_chosen_of_many_values_is_as_large_as_by_sorting_them_all() -> None:
    values = torch.randn(STRETCH + 999, generator=torch.Generator().manual_seed(1)).round(decimals=2)
    codec, out = TopK(0.1), torch.empty_like(values)
    codec.decode(encoded(codec, values), out)
    for stretch in (slice(0, STRETCH), slice(STRETCH, None)):
        kept, magnitudes = out[stretch][out[stretch] != 0].abs(), values[stretch].abs()
        assert torch.equal(kept.sort().values, magnitudes.sort().values[-len(kept) :])
        assert len(kept) == math.ceil(0.1 * len(magnitudes))


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (1, 1), (16, 1), (17, 2), (65536, 4096), (65537, 4097)])
def test_one_value_at_least_is_kept(count: int, kept: int) -> None:
    assert TopK(1 / 16).encoded_bytes(count) == 6 * kept


@pytest.mark.parametrize("indices", [[3, 3], [4, 1], [0, 5], [0, 65535]])
def test_indices_that_do_not_ascend_within_the_segment_are_refused(indices: list[int]) -> None:
    data = encoded(TopK(0.4), torch.ones(5))
    data[:4] = torch.tensor(indices, dtype=torch.int32).to(torch.int16).view(torch.uint8)
    with pytest.raises(RemoteProtocolError) as caught:
        TopK(0.4).decode(data, torch.empty(5))
    assert caught.value.code == "bad_codec"
