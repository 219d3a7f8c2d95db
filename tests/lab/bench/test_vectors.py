import pytest
import torch

from marfl_peer.lab.bench.vectors import LARGEST_ERROR, digest_of, error_of, own_vector, weight

FLOATS = 1000


def mean_of(weights: list[int]) -> torch.Tensor:
    ranks = len(weights)
    total = sum(own * own_vector(rank, ranks, FLOATS).double() for rank, own in enumerate(weights))
    assert isinstance(total, torch.Tensor)
    return (total / sum(weights)).float()


def test_weighted_mean_is_recognised() -> None:
    weights = [weight(rank) for rank in range(5)]
    assert sorted(set(weights)) == [1, 2, 3]
    assert error_of(mean_of(weights), weights) < 1e-6


def test_mean_with_other_weights_is_wrong() -> None:
    assert error_of(mean_of([1, 1, 1]), [1, 2, 3]) > 100 * LARGEST_ERROR


def test_one_part_of_another_rank_is_wrong() -> None:
    result = mean_of([1, 1, 1])
    result[100:200] = own_vector(0, 3, FLOATS)[100:200]
    assert error_of(result, [1, 1, 1]) > 100 * LARGEST_ERROR


def test_value_that_is_no_number_is_wrong() -> None:
    result = mean_of([1, 1])
    result[0] = float("nan")
    assert error_of(result, [1, 1]) == float("inf")


@pytest.mark.parametrize("changed", [False, True])
def test_digest_tells_one_bit(changed: bool) -> None:
    result, other = own_vector(0, 2, FLOATS), own_vector(0, 2, FLOATS)
    if changed:
        other[-1] = torch.nextafter(other[-1], torch.tensor(9.0))
    assert (digest_of(result) == digest_of(other)) is not changed
