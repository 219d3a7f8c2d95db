from __future__ import annotations

import pytest
import torch

from marfl_peer.averaging.codecs.codec import chances
from marfl_peer.averaging.codecs.halves import BFLOAT16, FLOAT16, Half


def there_and_back(codec: Half, values: torch.Tensor) -> torch.Tensor:
    data, out = torch.empty(2 * values.numel(), dtype=torch.uint8), torch.empty_like(values)
    codec.encode(values, data, chances(1, values.numel()))
    codec.decode(data, out)
    return out


@pytest.mark.parametrize("codec", [BFLOAT16, FLOAT16], ids=lambda codec: codec.name)
def test_values_are_rounded_to_the_nearest(codec: Half) -> None:
    values = torch.randn(500)
    assert torch.equal(there_and_back(codec, values), values.to(codec.dtype).float())


@pytest.mark.parametrize(("codec", "most"), [(BFLOAT16, 3.3895314e38), (FLOAT16, 65504.0)])
def test_values_beyond_the_range_become_its_end(codec: Half, most: float) -> None:
    largest = torch.finfo(torch.float32).max
    assert there_and_back(codec, torch.tensor([largest, -largest, 1.0])).tolist() == pytest.approx([most, -most, 1.0])
