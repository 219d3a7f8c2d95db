from pathlib import Path

import pytest
import torch

from marfl_peer.lab.bench.vectors import digest_of, factor, mean_vector, own_vector, shared_base, weight

FLOATS = 1000


def test_mean_is_that_of_the_own_vectors() -> None:
    weights = [weight(rank) for rank in range(5)]
    assert sorted(set(weights)) == [1, 2, 3]
    total = sum(own * own_vector(rank, 5, FLOATS).double() for rank, own in enumerate(weights))
    assert isinstance(total, torch.Tensor)
    torch.testing.assert_close(mean_vector(weights, FLOATS), (total / sum(weights)).float())


@pytest.mark.parametrize("ranks", [2, 3, 4, 16, 64, 125])
def test_no_rank_brings_the_mean_so_that_each_would_be_missed(ranks: int) -> None:
    mean = mean_vector([weight(rank) for rank in range(ranks)], 1)
    others = [float(own_vector(rank, ranks, 1) / mean) for rank in range(ranks)]
    assert all(abs(other - 1) > 0.1 for other in others)


@pytest.mark.parametrize("changed", [False, True])
def test_digest_tells_one_bit(changed: bool) -> None:
    result, other = own_vector(0, 2, FLOATS), own_vector(0, 2, FLOATS)
    if changed:
        other[-1] = torch.nextafter(other[-1], torch.tensor(9.0))
    assert (digest_of(result) == digest_of(other)) is not changed


def test_base_that_is_shared_is_what_all_bring_a_multiple_of(tmp_path: Path) -> None:
    first, second = (shared_base(tmp_path / "base", 100) for _ in range(2))
    assert torch.equal(first, second)
    for rank in range(3):
        assert torch.equal(second * factor(rank, 3), own_vector(rank, 3, 100))
