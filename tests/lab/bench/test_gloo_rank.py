from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as dist

from marfl_peer.lab.bench.gloo_rank import FLAT, GROUPS, GlooRank
from marfl_peer.lab.bench.judging import Judgement
from marfl_peer.lab.bench.words import GlooRole


@pytest.fixture
def role(tmp_path: Path) -> Iterator[GlooRole]:
    """Alone: several ranks in several processes are in the tests of the benches."""
    yield GlooRole(rank=0, ranks=1, floats=100, store=str(tmp_path / "store"), lines=(((0,),),), is_exact=False)
    dist.destroy_process_group()


def test_one_rank_keeps_what_it_has(role: GlooRole) -> None:
    rank = GlooRank(role)
    rank.arm()
    rank.average(FLAT)
    rank.average(GROUPS)
    assert rank.judge(FLAT) == Judgement(0.0)
    assert rank.judge(GROUPS) is None  # on a grid with empty cells nobody knows
    assert rank.contacts == ()
