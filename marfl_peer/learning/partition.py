"""Cuts a data set into shards, one a peer. All peers must find the same shards by themselves: everything is
drawn from the seed, by generators whose streams numpy has frozen for good (RandomState).

Train and test samples follow one draw, so that a peer is tested on the mix of classes that it trains on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marfl_peer.config import parse_partition
from marfl_peer.errors import ConfigError
from marfl_peer.learning.seeds import seed_of

Indices = npt.NDArray[np.int64]
Ratios = npt.NDArray[np.float64]
"""[shards], sums to 1: how a class is divided."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shard:
    """The samples of one owner, as indices into a `TaskData`."""

    index: int | None
    """0-based; None for a peer without a shard"""
    train_indices: Tensor
    """int64 [n]"""
    test_indices: Tensor
    """int64 [k]"""


def empty_shard() -> Shard:
    """What a peer owns for which there is no shard: it trains nothing and weighs 0."""
    none = torch.empty(0, dtype=torch.int64)
    return Shard(index=None, train_indices=none, test_indices=none)


def split(train_labels: Tensor, test_labels: Tensor, *, shards: int, scheme: str, seed: int) -> list[Shard]:
    """Every train and test sample in exactly one of `shards` shards; none is without a train sample.

    `scheme`: "iid"; "dirichlet:ALPHA", each class divided by a draw from Dirichlet(ALPHA); "shards:K", each
    shard holds K classes (one that would stay empty takes a sample of any). Labels: int64 [n] and [k].
    Raises: ConfigError for more shards than train samples, or for a K that cannot be.
    """
    if shards > len(train_labels):
        raise ConfigError("shards", shards, f"there are only {len(train_labels)} training samples: use fewer shards")
    kind, parameter = parse_partition(scheme)
    rng = np.random.RandomState(np.random.MT19937(seed_of("partition", scheme, shards, seed)))
    train, test = train_labels.numpy(), test_labels.numpy()
    if kind == "iid":
        ratios = np.full(shards, 1.0 / shards)
        train_parts = _cut(rng.permutation(len(train)), ratios)
        test_parts = _cut(rng.permutation(len(test)), ratios)
    else:
        classes = np.union1d(train, test)
        if kind == "dirichlet":
            divisions = [_dirichlet(rng, parameter, shards) for _ in classes]
        else:
            divisions = _even(rng, len(classes), int(parameter), shards, scheme)
        train_parts = _cut_by_class(rng, train, classes, divisions)
        test_parts = _cut_by_class(rng, test, classes, divisions)
    _fill_empty_(train_parts)
    return [
        Shard(index=index, train_indices=_indices(own_train), test_indices=_indices(own_test))
        for index, (own_train, own_test) in enumerate(zip(train_parts, test_parts, strict=True))
    ]


def _indices(part: Indices) -> Tensor:
    # Sorted: in order of memory; the order of training is drawn elsewhere.
    return torch.from_numpy(np.sort(part).astype(np.int64))


def _dirichlet(rng: np.random.RandomState, alpha: float, shards: int) -> Ratios:
    # By hand: RandomState.dirichlet divides 0 by 0 where alpha is so small that every draw is 0.
    draws = rng.standard_gamma(alpha, shards)
    if draws.sum() == 0.0:
        draws[rng.randint(shards)] = 1.0
    ratios: Ratios = draws / draws.sum()
    return ratios


def _even(rng: np.random.RandomState, classes: int, per_shard: int, shards: int, scheme: str) -> list[Ratios]:
    if per_shard > classes:
        raise ConfigError("partition", scheme, f"the data has only {classes} classes")
    if per_shard * shards < classes:
        raise ConfigError(
            "partition",
            scheme,
            f"{shards} shards would leave some of the {classes} classes out: use a larger K",
        )
    holds = np.zeros((classes, shards))
    for shard in range(shards):
        # The classes that the fewest hold so far, at random among equals: no class is left without a holder.
        order = rng.permutation(classes)
        rarest = order[np.argsort(holds.sum(axis=1)[order], kind="stable")]
        holds[rarest[:per_shard], shard] = 1.0
    return [row / row.sum() for row in holds]


def _cut_by_class(
    rng: np.random.RandomState, labels: Indices, classes: Indices, divisions: Sequence[Ratios]
) -> list[Indices]:
    cuts = [
        _cut(rng.permutation(np.flatnonzero(labels == label)), ratios)
        for label, ratios in zip(classes, divisions, strict=True)
    ]
    return [np.concatenate(parts) for parts in zip(*cuts, strict=True)]


def _cut(samples: Indices, ratios: Ratios) -> list[Indices]:
    ends = np.rint(np.cumsum(ratios)[:-1] * len(samples)).astype(np.int64)
    return np.split(samples, ends)


def _fill_empty_(parts: list[Indices]) -> None:
    for index, part in enumerate(parts):
        if len(part) == 0:
            largest = max(range(len(parts)), key=lambda other: len(parts[other]))
            parts[index], parts[largest] = parts[largest][-1:], parts[largest][:-1]
