"""Vectors by name: what a peer brings to a line, and what it keeps of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

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
        vectors[name] = pool.take().fill_(float(number))
    return vectors


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


def test_rest_keeps_what_others_may_need_and_the_pool_gets_back_the_others() -> None:
    pool = BufferPool(LENGTH, keep=5)
    vectors = vectors_of(Cells(home=SECOND, wanted={FIRST}), pool)
    home, kept = vectors[SECOND], vectors[FIRST]
    vectors.rest()
    assert len(vectors) == 1
    assert vectors[FIRST] is kept
    assert len(pool) == 1, "the result at home is its reader's"
    assert home[0] == 2.0


def test_close_forgets_all_and_the_pool_gets_it_back() -> None:
    pool = BufferPool(LENGTH, keep=5)
    vectors = vectors_of(Cells(home=SECOND), pool)
    vectors.close()
    assert (len(vectors), len(pool)) == (0, 3)
