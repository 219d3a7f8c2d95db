from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.learning.batches import Batches, Position

INDICES = torch.arange(100, 123)


def batches(*, batch_size: int = 5, seed: int = 1, shard: int = 0) -> Batches:
    return Batches(INDICES, batch_size=batch_size, seed=seed, shard=shard)


@given(count=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_batches_over_whole_epochs_show_every_sample_equally_often(count: int, batch_size: int) -> None:
    stream = Batches(torch.arange(count), batch_size=batch_size, seed=3, shard=None)
    seen = torch.cat([stream.next_batch() for _ in range(count)])
    assert stream.size == min(batch_size, count)
    assert len(seen) == count * stream.size
    assert torch.equal(torch.bincount(seen, minlength=count), torch.full((count,), stream.size))


def test_batches_draw_each_epoch_in_another_order() -> None:
    stream = batches(batch_size=23)
    first, second = stream.next_batch(), stream.next_batch()
    assert torch.equal(first.sort().values, INDICES)
    assert torch.equal(second.sort().values, INDICES)
    assert not torch.equal(first, second)


def test_batches_of_one_seed_and_shard_are_the_same_and_of_others_differ() -> None:
    first = batches().next_batch()
    assert torch.equal(first, batches().next_batch())
    assert not torch.equal(first, batches(seed=2).next_batch())
    assert not torch.equal(first, batches(shard=1).next_batch())


@given(before=st.integers(0, 30), batch_size=st.integers(1, 30))
def test_batches_restored_go_on_where_they_were(before: int, batch_size: int) -> None:
    stream = batches(batch_size=batch_size)
    for _ in range(before):
        stream.next_batch()
    resumed = batches(batch_size=batch_size)
    resumed.restore(stream.position)
    for _ in range(4):
        assert torch.equal(stream.next_batch(), resumed.next_batch())
    assert stream.position == resumed.position


@pytest.mark.parametrize("position", [Position(offset=23), Position(offset=-1), Position(epoch=-1)])
def test_batches_restored_at_a_position_that_is_not_there_raise(position: Position) -> None:
    stream = batches()
    with pytest.raises(ValueError, match="not among 23 samples"):
        stream.restore(position)
    assert stream.position == Position()


@pytest.mark.parametrize(("count", "batch_size"), [(0, 5), (5, 0)])
def test_batches_of_nothing_raise(count: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match="no batches"):
        Batches(torch.arange(count), batch_size=batch_size, seed=1, shard=0)
