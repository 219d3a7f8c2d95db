from __future__ import annotations

import math

import pytest
import torch

from marfl_peer.averaging.codecs.codec import chances
from marfl_peer.averaging.codecs.quantised import BLOCK, INT4, INT8, SMALLEST_SCALE, Quantised

both = pytest.mark.parametrize("codec", [INT8, INT4], ids=lambda codec: codec.name)


def encoded(codec: Quantised, values: torch.Tensor, seed: int = 1) -> torch.Tensor:
    data = torch.empty(codec.encoded_bytes(values.numel()), dtype=torch.uint8)
    codec.encode(values, data, chances(seed, values.numel()))
    return data


def there_and_back(codec: Quantised, values: torch.Tensor, seed: int = 1) -> torch.Tensor:
    out = torch.empty_like(values)
    codec.decode(encoded(codec, values, seed), out)
    return out


@both
def test_chance_rounds_without_bias(codec: Quantised) -> None:
    values = torch.randn(256, generator=torch.Generator().manual_seed(7))
    total = torch.zeros(256, dtype=torch.float64)
    for seed in range(3000):
        total += there_and_back(codec, values, seed * 7919).double()
    step = values.abs().max().item() / codec.levels
    assert (total / 3000 - values).abs().max() < 0.05 * step


@both
@pytest.mark.parametrize("count", [1, 127, 128, 129, 256, 300])
def test_every_block_has_a_scale_of_its_own(codec: Quantised, count: int) -> None:
    """A block of large values does not coarsen the next one: what is lost is below a step of the own block."""
    scales = torch.logspace(-20, 20, math.ceil(count / BLOCK)).repeat_interleave(BLOCK)[:count]
    values = torch.randn(count, generator=torch.Generator().manual_seed(3)) * scales
    blocks = torch.nn.functional.pad(values, (0, -count % BLOCK)).view(-1, BLOCK).abs().amax(1)
    steps = blocks.repeat_interleave(BLOCK)[:count] * 1.01 / codec.levels
    assert ((there_and_back(codec, values) - values).abs() <= steps).all()


@both
def test_largest_value_of_a_block_does_not_overflow_it(codec: Quantised) -> None:
    """The scale is rounded up where it has to be: the extreme is at most `levels` of them."""
    for extreme in torch.randn(200, generator=torch.Generator().manual_seed(5)).abs().tolist():
        values = torch.tensor([extreme, -extreme, extreme / 3])
        error = (there_and_back(codec, values) - values).abs().max().item()
        assert error <= 1.01 * extreme / codec.levels


@both
def test_values_below_the_smallest_scale_count_as_zeros(codec: Quantised) -> None:
    values = torch.full((5,), SMALLEST_SCALE * codec.levels / 4)
    assert not there_and_back(codec, values).any()


def test_int4_packs_two_values_a_byte_the_first_in_the_low_half() -> None:
    data = encoded(INT4, torch.tensor([7.0, -7.0, 0.0]))
    assert data.tolist()[2:] == [(7 + 8) | (-7 + 8) << 4, 8]


def test_any_byte_decodes_to_some_level() -> None:
    """Nothing that a liar sends is out of bounds: -128 and -8 are only a level more."""
    data = torch.tensor([0x80, 0x3F, 0x80], dtype=torch.uint8)  # one scale, 1.0
    out = torch.empty(1)
    INT8.decode(data, out)
    assert out.item() == -128.0
    INT4.decode(torch.tensor([0x80, 0x3F, 0x00], dtype=torch.uint8), out)
    assert out.item() == -8.0
