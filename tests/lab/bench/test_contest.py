from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from marfl_peer.errors import MarflError
from marfl_peer.lab.bench.conductor import Conductor, Member
from marfl_peer.lab.bench.contest import BLOCK, compete, turns
from marfl_peer.lab.bench.sides import Side
from marfl_peer.lab.bench.words import Done


class Clockwork:
    """Measures nothing; remembers who was asked, and whether the result was to be checked."""

    def __init__(self, wrong: str = "", digests: Sequence[str] = ("a", "a")) -> None:
        self.wrong, self.digests = wrong, digests
        self.asked: list[tuple[str, bool]] = []

    async def measure(self, members: Sequence[Member], what: str = "", *, checked: bool = False) -> list[Done]:
        self.asked.append((what, checked))
        digests = self.digests if checked and len(self.asked) > 1 else ("a", "a")
        return [Done(began=0.0, ended=1.0, error=1e-9, wrong=self.wrong, digest=digest) for digest in digests]


def test_sides_take_turns_in_blocks() -> None:
    order = list(turns({"a": 2 * BLOCK, "b": 2 * BLOCK}))
    assert order == [*"a" * BLOCK, *"b" * BLOCK] * 2


@pytest.mark.parametrize("counts", [{"a": 1, "b": 1}, {"a": 7, "b": 7, "c": 2}, {"a": 23, "b": 1}])
def test_everybody_gets_as_many_repeats_as_asked_for(counts: dict[str, int]) -> None:
    order = list(turns(counts))
    assert {name: order.count(name) for name in counts} == counts


def test_first_and_last_result_are_checked_and_warm_ups_are_not_measured() -> None:
    clockwork, noted = Clockwork(), list[str]()
    sides = [Side(name="a", members=[], what="flat"), Side(name="b", members=[])]
    errors = asyncio.run(
        compete(cast(Conductor, clockwork), sides, {"a": 3, "b": 1}, lambda what, _: noted.append(what))
    )
    assert [len(side.measured) for side in sides] == [3, 1]
    assert clockwork.asked[:3] == [("flat", True), ("flat", False), ("", True)]
    assert [checked for _, checked in clockwork.asked[3:]] == [False, False, True, True]
    assert errors == {"a": 1e-9, "b": 1e-9}
    assert noted[-1] == "b: 1 of 1"


def test_wrong_result_ends_it() -> None:
    with pytest.raises(MarflError, match="a came to a wrong mean"):
        asyncio.run(compete(cast(Conductor, Clockwork("off")), [Side(name="a", members=[])], {"a": 1}, lambda *_: None))


def test_last_results_that_differ_end_it() -> None:
    clockwork = Clockwork(digests=("a", "b"))
    with pytest.raises(MarflError, match="a came to 2 different results"):
        asyncio.run(compete(cast(Conductor, clockwork), [Side(name="a", members=[])], {"a": 3}, lambda *_: None))
    assert len(clockwork.asked) == 2 + 3
