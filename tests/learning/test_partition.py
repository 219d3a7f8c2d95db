from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from marfl_peer.errors import ConfigError
from marfl_peer.learning.partition import Shard, empty_shard, split

SCHEMES = ("iid", "dirichlet:0.000000001", "dirichlet:0.1", "dirichlet:1.0", "dirichlet:999999999", "shards:2")


def balanced(per_class: int, classes: int = 10) -> Tensor:
    return torch.arange(classes).repeat(per_class)


def shares(labels: Tensor, indices: Tensor, classes: int = 10) -> Tensor:
    counts = torch.bincount(labels[indices], minlength=classes).double()
    return counts / counts.sum()


def cut(scheme: str, *, shards: int = 16, seed: int = 1) -> list[Shard]:
    return split(balanced(600), balanced(100), shards=shards, scheme=scheme, seed=seed)


@given(
    train=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    test=st.lists(st.integers(0, 5), max_size=30),
    share=st.floats(0.0, 1.0),
    scheme=st.sampled_from(SCHEMES),
    seed=st.integers(0, 2**64),
)
def test_split_gives_every_sample_to_exactly_one_shard(
    train: list[int], test: list[int], share: float, scheme: str, seed: int
) -> None:
    shards = max(1, round(share * len(train)))
    train_labels, test_labels = torch.tensor(train), torch.tensor(test, dtype=torch.int64)
    try:
        parts = split(train_labels, test_labels, shards=shards, scheme=scheme, seed=seed)
    except ConfigError:
        classes = len({*train, *test})
        assert scheme == "shards:2" and (classes < 2 or 2 * shards < classes)
        return
    assert len(parts) == shards
    assert [part.index for part in parts] == list(range(shards))
    assert all(len(part.train_indices) >= 1 for part in parts)
    for indices, labels in (
        ([part.train_indices for part in parts], train_labels),
        ([part.test_indices for part in parts], test_labels),
    ):
        assert all(own.dtype == torch.int64 for own in indices)
        assert torch.equal(torch.cat(indices).sort().values, torch.arange(len(labels)))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_split_with_one_seed_is_the_same_and_with_another_differs(scheme: str) -> None:
    first, again, other = cut(scheme), cut(scheme), cut(scheme, seed=2)
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.train_indices, two.train_indices)
        assert torch.equal(one.test_indices, two.test_indices)
    assert any(not torch.equal(one.train_indices, two.train_indices) for one, two in zip(first, other, strict=True))


def test_split_draws_the_same_on_every_machine() -> None:
    parts = split(balanced(6, 3), balanced(2, 3), shards=3, scheme="dirichlet:1.0", seed=1)
    assert [part.train_indices.tolist() for part in parts] == [
        [0, 1, 3, 4, 5, 7, 8, 9, 10, 11, 13, 15],
        [2, 6, 16],
        [12, 14, 17],
    ]
    assert [part.test_indices.tolist() for part in parts] == [[1, 2, 3, 4], [0], [5]]


def test_split_iid_gives_equal_shards_of_all_classes() -> None:
    for part in cut("iid"):
        assert len(part.train_indices) == 375
        assert 62 <= len(part.test_indices) <= 63
        assert shares(balanced(600), part.train_indices).max() < 0.2


def test_split_dirichlet_tests_a_peer_on_what_it_trains_on() -> None:
    parts = cut("dirichlet:1.0")
    sizes = [len(part.train_indices) for part in parts]
    assert max(sizes) > 1.5 * min(sizes)
    for part in parts:
        train = torch.bincount(balanced(600)[part.train_indices], minlength=10)
        test = torch.bincount(balanced(100)[part.test_indices], minlength=10)
        # 600 and 100 samples of each class, cut at the same ratios: at most rounding apart
        assert (train / 6 - test).abs().max() <= 1.2


def test_split_dirichlet_is_more_uneven_for_a_smaller_alpha() -> None:
    def unevenness(scheme: str) -> float:
        peaks = [shares(balanced(600), part.train_indices).max() for part in cut(scheme)]
        return float(torch.stack(peaks).mean())

    assert unevenness("dirichlet:0.1") > 0.5 > unevenness("dirichlet:1.0") > 0.2 > unevenness("dirichlet:1000")


@pytest.mark.parametrize(
    ("scheme", "shards", "classes"), [("shards:1", 10, 1), ("shards:2", 16, 2), ("shards:10", 3, 10)]
)
def test_split_into_classes_gives_each_shard_so_many(scheme: str, shards: int, classes: int) -> None:
    for part in cut(scheme, shards=shards):
        train = set(balanced(600)[part.train_indices].tolist())
        assert len(train) == classes
        assert set(balanced(100)[part.test_indices].tolist()) == train


def test_split_into_classes_spreads_holders_evenly() -> None:
    labels = balanced(600)
    held = torch.zeros(10)
    for part in cut("shards:2"):
        held += torch.bincount(labels[part.train_indices], minlength=10) > 0
    assert held.max() - held.min() <= 1


def test_split_into_more_shards_than_samples_names_both() -> None:
    with pytest.raises(ConfigError, match=r"shards: 11: there are only 10 training samples"):
        split(balanced(1), balanced(1), shards=11, scheme="iid", seed=1)


@pytest.mark.parametrize(
    ("scheme", "shards", "message"),
    [("shards:11", 5, "only 10 classes"), ("shards:2", 4, "leave some of the 10 classes")],
)
def test_split_into_classes_that_cannot_be_raises(scheme: str, shards: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cut(scheme, shards=shards)


def test_split_with_fewer_test_samples_than_shards_leaves_some_without() -> None:
    parts = split(balanced(10), balanced(1, 3), shards=8, scheme="iid", seed=1)
    assert sorted(len(part.test_indices) for part in parts) == [0] * 5 + [1] * 3


def test_empty_shard_owns_nothing() -> None:
    shard = empty_shard()
    assert shard.index is None
    assert len(shard.train_indices) == len(shard.test_indices) == 0
