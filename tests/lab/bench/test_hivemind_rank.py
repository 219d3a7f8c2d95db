from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from marfl_peer.lab.bench import hivemind_rank
from marfl_peer.lab.bench.hivemind_rank import HivemindRank, bucket_bits
from marfl_peer.lab.bench.words import HivemindRole

ROLE = HivemindRole(rank=3, ranks=16, floats=8, group_size=4, rounds=2, contacts=("/ip4/127.0.0.1/tcp/1",))


class Averager:
    """As much of hivemind's as is used."""

    results: ClassVar[list[Any]] = []

    def __init__(self, tensors: list[torch.Tensor], dht: object, **options: object) -> None:
        self.tensors, self.options, self.steps = tensors, options, 0

    @contextlib.contextmanager
    def get_tensors(self) -> Iterator[list[torch.Tensor]]:
        yield self.tensors

    def step(self, timeout: float) -> object:
        self.steps += 1
        result = self.results[self.steps - 1]
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    asked: dict[str, object] = {}

    def dht(**options: object) -> SimpleNamespace:
        asked.update(options)
        return SimpleNamespace(get_visible_maddrs=lambda: ["/ip4/127.0.0.1/tcp/2"])

    for name, contents in (("hivemind", {"DHT": dht}), ("hivemind.averaging", {"DecentralizedAverager": Averager})):
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(os, "setpgid", lambda *_: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return asked


def test_averager_starts_from_the_contacts_in_a_bucket_of_its_own(stand_in: dict[str, object]) -> None:
    rank = HivemindRank(ROLE)
    assert rank.contacts == ("/ip4/127.0.0.1/tcp/2",)
    assert stand_in["initial_peers"] == ["/ip4/127.0.0.1/tcp/1"]
    assert rank._averager.options["initial_group_bits"] == "11"
    assert rank._averager.options["target_group_size"] == 4


def test_average_is_as_many_steps_as_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Averager, "results", [{}, {}])
    rank = HivemindRank(ROLE)
    rank._averager.tensors[0].zero_()
    rank.arm()
    assert float(rank._averager.tensors[0].abs().sum()) > 0
    rank.average("")
    assert rank._averager.steps == 2
    assert rank.judge("") is None


@pytest.mark.parametrize("result", [None, TimeoutError("too late")])
def test_round_that_comes_to_nothing_is_told(monkeypatch: pytest.MonkeyPatch, result: object) -> None:
    monkeypatch.setattr(Averager, "results", [{}, result])
    with pytest.raises(RuntimeError, match="round 2: "):
        HivemindRank(ROLE).average("")


@pytest.mark.parametrize(("ranks", "group_size", "bits"), [(4, 4, 0), (5, 4, 1), (16, 4, 2), (125, 5, 5)])
def test_there_are_buckets_for_all(ranks: int, group_size: int, bits: int) -> None:
    assert bucket_bits(ranks, group_size) == bits


def test_it_is_looked_for_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(hivemind_rank.importlib.util, "find_spec", asked.append)
    assert not hivemind_rank.is_installed()
    assert asked == ["hivemind"]
