from __future__ import annotations

from dataclasses import replace

import pytest
from broken import LOST, found, scenario

from marfl_peer.averaging.codecs.coder import Coder
from marfl_peer.lab.simulator.faults.plan import Fault
from marfl_peer.lab.simulator.run import run


@pytest.mark.parametrize("bug", ["nobody is awaited", "momentum not taken"])
def test_exactness_in_peace_is_of_everybody(bug: str) -> None:
    assert "I6" in found(bug, scenario())


@pytest.mark.parametrize("bug", ["sum in order of arrival", "take-over dropped"])
def test_exactness_with_one_lost_counts_all_others_in_full_and_alike(bug: str) -> None:
    assert "I6" in found(bug, scenario(LOST, peers=9, iterations=3))


def test_exactness_of_a_whole_swarm_holds() -> None:
    assert found("waits for too long", scenario(LOST, peers=9, iterations=3)) == {"I4"}


@pytest.mark.parametrize("exchange", ["butterfly", "all-gather"])
@pytest.mark.parametrize("codec", ["theta=int8,momentum=int4", "topk:0.1", "bfloat16"])
@pytest.mark.parametrize("faults", [(), (LOST,)], ids=["peace", "one lost"])
def test_exactness_holds_where_values_are_rounded(codec: str, exchange: str, faults: tuple[Fault, ...]) -> None:
    """Who takes the lost peer's cell over rounds as that one would have: all end every iteration with the same bits."""
    given = replace(scenario(*faults, peers=9, iterations=4), codec=codec, exchange=exchange)
    assert run(given).violations == []


def test_exactness_finds_parallel_lines_that_round_each_in_their_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    init = Coder.__init__

    def by_chance(self: Coder, *args: object, salt: str, **kwargs: object) -> None:
        init(self, *args, salt=f"{salt} {id(self)}", **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Coder, "__init__", by_chance)
    assert "I6" in {violation.invariant for violation in run(replace(scenario(peers=9), codec="int8")).violations}
