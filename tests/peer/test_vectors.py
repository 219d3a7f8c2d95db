"""Vectors by name: what a peer brings to a line, and whose memory goes back to the pool."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest
import torch

from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.peer.vectors import Vectors
from marfl_peer.protocol.iteration import Aggregation
from marfl_peer.protocol.messages import LineName
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.walks import Stand, VectorName

LENGTH = 4
FIRST, SECOND = (LineName(iteration=1, round=number, line=0) for number in (1, 2))


@dataclass
class Cells:
    """Stands for the machine: what the cells hold, and which vectors a lost peer's cell could be played from."""

    held: list[tuple[VectorName, int]] = field(default_factory=list)
    home: VectorName = None
    wanted: set[VectorName] = field(default_factory=set)

    def contribution(self, name: LineName, cells: list[int]) -> list[tuple[VectorName, int]]:
        return [self.held[cell] for cell in cells]

    def home_stand(self) -> Stand:
        return Stand(vector=self.home, holding=Holding(weight=1, sums=(), maxima=()))

    def kept_for_others(self) -> set[VectorName]:
        return self.wanted


def vectors_of(cells: Cells, pool: BufferPool) -> Vectors:
    vectors = Vectors(cast(Aggregation, cells), pool)
    for number, name in enumerate((None, FIRST, SECOND)):
        vectors[name] = torch.full((LENGTH,), float(number))
    return vectors


def free_in(pool: BufferPool) -> set[int]:
    return {id(vector) for vector in pool._given}


def test_one_vector_with_weight_is_brought_as_it_is() -> None:
    vectors = vectors_of(Cells(held=[(None, 0), (FIRST, 5), (FIRST, 2)]), BufferPool(LENGTH))
    assert vectors.contribution(SECOND, [0, 1, 2]) is vectors[FIRST]


def test_vectors_without_any_weight_are_brought_by_the_first() -> None:
    vectors = vectors_of(Cells(held=[(SECOND, 0), (FIRST, 0)]), BufferPool(LENGTH))
    assert vectors.contribution(SECOND, [0, 1]) is vectors[SECOND]


def test_different_vectors_are_brought_as_their_weighted_mean() -> None:
    vectors = vectors_of(Cells(held=[(FIRST, 1), (SECOND, 3)]), BufferPool(LENGTH))
    assert torch.equal(vectors.contribution(SECOND, [0, 1]), torch.full((LENGTH,), 1.75))
    assert torch.equal(vectors[FIRST], torch.full((LENGTH,), 1.0)), "left as it was"


@pytest.mark.parametrize("reusable", [True, False])
def test_rest_keeps_what_others_may_need_and_gives_back_the_others(reusable: bool) -> None:
    pool = BufferPool(LENGTH, keep=5)
    vectors = vectors_of(Cells(home=SECOND, wanted={FIRST}), pool)
    own, kept = vectors[None], vectors[FIRST]
    vectors.rest(reusable=reusable)
    assert len(vectors) == 1
    assert vectors[FIRST] is kept
    assert free_in(pool) == ({id(own)} if reusable else set()), "the result at home is its reader's"


@pytest.mark.parametrize("reusable", [True, False])
def test_close_forgets_all_and_gives_back_what_is_not_the_result_at_home(reusable: bool) -> None:
    pool = BufferPool(LENGTH, keep=5)
    vectors = vectors_of(Cells(home=SECOND), pool)
    own, first = vectors[None], vectors[FIRST]
    vectors.close(reusable=reusable)
    assert free_in(pool) == ({id(own), id(first)} if reusable else set())
    assert len(vectors) == 0


def test_close_without_vectors_asks_for_no_result() -> None:
    class NotArrived(Cells):
        def home_stand(self) -> Stand:
            raise KeyError("no cell has begun")

    pool = BufferPool(LENGTH)
    Vectors(cast(Aggregation, NotArrived()), pool).close(reusable=True)
    assert free_in(pool) == set()
