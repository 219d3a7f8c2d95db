from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest
from click.testing import Result

from marfl_peer.config import Settings
from marfl_peer.errors import MarflError
from marfl_peer.lab import bench as bench_package
from marfl_peer.lab.bench import plan
from marfl_peer.lab.links import Rates

Invoke = Callable[..., Result]
StandIn = Callable[..., ModuleType]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Settings, dict[str, object]]]:
    made: list[tuple[str, Settings, dict[str, object]]] = []

    def stand_in(name: str) -> Callable[..., None]:
        def run(settings: Settings, **numbers: object) -> None:
            made.append((name, settings, numbers))

        return run

    names = ("exchange", "aggregation", "scaling", "codecs")
    command = SimpleNamespace(**{name: stand_in(name) for name in names})
    monkeypatch.setattr(bench_package, "command", command, raising=False)
    monkeypatch.setattr(bench_package, "plan", plan, raising=False)
    return made


Calls = list[tuple[str, Settings, dict[str, object]]]


def test_exchange_takes_its_numbers(invoke: Invoke, calls: Calls) -> None:
    result = invoke("bench", "exchange", "--members", "8", "--bytes", "9600000", "--repeats", "7", "--json")
    assert (result.exit_code, result.output) == (0, "")
    numbers = {"members": 8, "vector_bytes": 9_600_000, "repeats": 7, "rates": None, "as_json": True}
    assert calls == [("exchange", Settings(), numbers)]


def test_exchange_takes_rates_of_links(invoke: Invoke, calls: Calls) -> None:
    links = ("--link-rate", "1gbit", "--slow-rate", "100mbit", "--spans", "equal")
    assert invoke("bench", "exchange", *links).exit_code == 0
    assert (calls[0][1].spans, calls[0][2]["rates"]) == ("equal", Rates(10**9, 1, 10**8))


def test_aggregation_takes_group_size_from_the_settings(invoke: Invoke, calls: Calls) -> None:
    assert invoke("bench", "aggregation", "--peers", "125", MARFL_GROUP_SIZE="5").exit_code == 0
    ((name, settings, numbers),) = calls
    assert (name, settings.group_size, numbers["peers"], numbers["as_json"]) == ("aggregation", 5, 125, False)
    assert numbers["vector_bytes"] == 2 * 4_799_528


def test_scaling_takes_a_list(invoke: Invoke, calls: Calls) -> None:
    arguments = ("--peers", "16,64,125", "--group-size", "5", "--vector-bytes", "64000", "--iterations", "20")
    assert invoke("bench", "scaling", *arguments, "--codec", "float32").exit_code == 0
    ((name, settings, numbers),) = calls
    assert (name, settings.group_size, settings.iterations) == ("scaling", 5, 20)
    assert (numbers["peers"], numbers["simulated"], numbers["vector_bytes"]) == ([16, 64, 125], [], 64_000)
    assert invoke("bench", "scaling", "--simulate", "125,625").exit_code == 0
    assert calls[1][2]["simulated"] == [125, 625]


def test_codecs_take_names_or_all(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def run(names: list[str], **numbers: object) -> None:
        made.append((names, numbers))

    monkeypatch.setattr(bench_package, "command", SimpleNamespace(codecs=run), raising=False)
    assert invoke("bench", "codecs", "--codec", "int8", "--codec", "topk:0.5", "--bytes", "80").exit_code == 0
    assert invoke("bench", "codecs", "--json", "--repeats", "3").exit_code == 0
    assert made == [
        (["int8", "topk:0.5"], {"vector_bytes": 80, "repeats": 20, "as_json": False}),
        (list(plan.EVERY_CODEC), {"vector_bytes": 2 * 4_799_528, "repeats": 3, "as_json": True}),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("exchange", "--members", "1"), "--members: '1': write a whole number from 2 to 64"),
        (("exchange", "--bytes", "1M"), "--bytes: '1M': write a whole number from 8 to 1073741824"),
        (("exchange", "--link-rate", "fast"), "--link-rate: 'fast': write a rate from 1mbit to 100gbit"),
        (("exchange", "--repeats", "0"), "--repeats: '0': write a whole number from 1 to 100000"),
        (("exchange", "--codec", "zip"), "--codec: 'zip': write float32, "),
        (("aggregation", "--peers", "x"), "--peers: 'x': write a whole number from 2 to 1024"),
        (("aggregation", "--group-size", "1"), "--group-size: 1: must be at least 2"),
        (("scaling", "--peers", "16;64"), "--peers: '16;64': write a whole number from 2 to 1024"),
        (("scaling", "--simulate", "1"), "--simulate: '1': write a whole number from 2 to 1024"),
        (("scaling", "--vector-bytes", "12"), "--vector-bytes: '12': must be a multiple of 8"),
        (("codecs", "--codec", "zip"), "codec: 'zip': write float32"),
        (("scaling", "--iterations", "0"), "--iterations: 0: must be at least 1"),
    ],
)
def test_number_that_cannot_be_is_one_line_and_exit_code_2(
    invoke: Invoke, calls: Calls, arguments: tuple[str, ...], message: str
) -> None:
    result = invoke("bench", *arguments)
    assert (result.exit_code, calls) == (2, [])
    assert result.stderr.startswith(f"marfl-peer: error: {message}")
    assert result.stderr.count("\n") == 1


def test_measurement_that_fails_is_one_line(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(settings: Settings, **_: object) -> None:
        raise ExceptionGroup("children", [MarflError("peer 3 ended too early: killed")])

    monkeypatch.setattr(bench_package, "command", SimpleNamespace(exchange=fail), raising=False)
    result = invoke("bench", "exchange")
    assert (result.exit_code, result.stderr) == (1, "marfl-peer: error: peer 3 ended too early: killed\n")
