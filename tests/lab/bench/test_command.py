from __future__ import annotations

import json
from collections.abc import Callable, Coroutine

import pytest

from marfl_peer.config import Settings
from marfl_peer.lab.bench import command
from marfl_peer.lab.bench.results import Aggregation, Codecs, Exchange, Scaling
from marfl_peer.lab.links import Rates


def giving(result: object, asked: dict[str, object]) -> Callable[..., Coroutine[object, object, object]]:
    async def measure(settings: Settings, **numbers: object) -> object:
        asked.update(numbers)
        return result

    return measure


def test_exchange_prints_a_table_or_one_json_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], exchange_result: Exchange
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(command, "measure_exchange", giving(exchange_result, asked))
    command.exchange(Settings(), members=4, vector_bytes=80, repeats=3, rates=None, as_json=False)
    assert "gloo all-reduce" in capsys.readouterr().out
    command.exchange(Settings(), members=4, vector_bytes=80, repeats=3, rates=Rates(10**9), as_json=True)
    assert json.loads(capsys.readouterr().out)["ratio_to_gloo"] == 0.75
    assert (asked["members"], asked["vector_bytes"], asked["repeats"], asked["rates"]) == (4, 80, 3, Rates(10**9))


def test_aggregation_prints_what_it_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], aggregation_result: Aggregation
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(command, "measure_aggregation", giving(aggregation_result, asked))
    command.aggregation(Settings(), peers=16, vector_bytes=80, repeats=3, as_json=True)
    assert json.loads(capsys.readouterr().out)["hivemind_seconds_median"] == 8.0
    assert asked["peers"] == 16


def test_scaling_measures_as_many_iterations_as_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scaling_result: Scaling
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(command, "measure_scaling", giving(scaling_result, asked))
    command.scaling(Settings(iterations=7), peers=[16, 64], simulated=[5], vector_bytes=80, as_json=False)
    assert "fit to N log_4 N" in capsys.readouterr().out
    assert (asked["iterations"], asked["peers"], asked["simulated"]) == (7, [16, 64], [5])


def test_codecs_print_a_table_or_one_json_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], codecs_result: Codecs
) -> None:
    asked: list[object] = []

    def measure(names: list[str], **numbers: object) -> Codecs:
        asked.append((names, numbers["vector_bytes"], numbers["repeats"]))
        return codecs_result

    monkeypatch.setattr(command, "measure_codecs", measure)
    command.codecs(["int8"], vector_bytes=80, repeats=3, as_json=False)
    assert "(copy)" in capsys.readouterr().out
    command.codecs(["int8"], vector_bytes=80, repeats=3, as_json=True)
    assert json.loads(capsys.readouterr().out)["codecs"][0]["bytes_per_value"] == 1.015625
    assert asked == [(["int8"], 80, 3)] * 2
