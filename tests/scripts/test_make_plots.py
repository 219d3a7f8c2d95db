from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
FORMULAS = {"mar_fl": 4e6, "rdfl": 4e6, "ar_fl": 4e6, "fedavg": 1e6, "butterfly": 1.6e6}


@pytest.fixture
def plots(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("make_plots")


def exchange(codec: str, seconds: float, rates: list[int] | None = None) -> dict[str, object]:
    return {
        "members": 4,
        "codec": codec,
        "seconds_median": seconds,
        "seconds_quartiles": [seconds / 2, 2 * seconds],
        "gloo_seconds_median": seconds + 1,
        "gloo_seconds_quartiles": [1, 2],
        "link_bits_per_second": rates,
    }


def aggregation(codec: str, hivemind: float | None) -> dict[str, object]:
    gloo = {"gloo_flat_seconds_median": 0.125, "hivemind_seconds_median": hivemind}
    return exchange(codec, 0.25) | gloo


def scaling(codec: str = "int8") -> dict[str, object]:
    def run(peers: int, is_simulated: bool) -> dict[str, object]:
        return {
            "group_size": 5,
            "peers": peers,
            "is_simulated": is_simulated,
            "bytes_sent_per_peer_per_iteration": 1e5 * peers,
            "bytes_sent_last_iteration": {"tensor": 9e4 * peers, "dht": 0},
            "formulas": FORMULAS,
        }

    return {"vector_bytes": 1_000_000, "codec": codec, "runs": [run(25, False), run(5, False), run(125, True)]}


def test_bytes_are_lines_by_group_size_in_vectors(plots: ModuleType) -> None:
    lines = plots.byte_lines([scaling(), scaling("float32")])
    assert list(lines) == [5]
    by_label = {line.label: line for line in lines[5]}
    assert by_label["int8, measured"].points == ((5, 0.5), (25, 2.5))
    assert by_label["int8, simulated, last iteration"].points == ((125, 11.25),)
    assert by_label["MAR-FL"].points == ((5, 4.0), (25, 4.0), (125, 4.0))
    assert by_label["FedAvg"].kind == "formula"
    assert len(by_label) == len(lines[5]) == 2 + 2 + 4


def test_exchanges_are_bars_by_links_beside_gloo(plots: ModuleType) -> None:
    slow = [10**9, 10**9, 10**9, 10**8]
    found = [exchange("bfloat16", 0.5), exchange("float32", 0.25), exchange("int8", 2.0, slow)]
    bars = plots.exchange_bars(found)
    assert list(bars) == ["4 members on loopback", "links of 3 × 1gbit and 1 × 100mbit"]
    loopback, links = bars.values()
    assert [(bar.label, bar.milliseconds) for bar in loopback] == [
        ("gloo, float32", 1250.0),
        ("float32", 250.0),
        ("bfloat16", 500.0),
    ]
    assert loopback[1].quartiles == (125.0, 500.0)
    assert [bar.label for bar in links] == ["gloo, float32", "int8"]


@pytest.mark.parametrize(("rate", "text"), [(10**9, "1gbit"), (25 * 10**8, "2500mbit"), (10**6 + 1, "1000001bit")])
def test_rates_are_written_as_the_bench_takes_them(plots: ModuleType, rate: int, text: str) -> None:
    assert plots.written(rate) == text


def test_aggregations_are_bars_with_the_others_of_the_run_in_float32(plots: ModuleType) -> None:
    bars = plots.aggregation_bars([aggregation("int8", None), aggregation("float32", 8.0)])
    assert [(bar.label, bar.milliseconds) for bar in bars] == [
        ("peers, float32", 250.0),
        ("peers, int8", 250.0),
        ("gloo in the same groups", 1250.0),
        ("gloo, one all-reduce", 125.0),
        ("hivemind", 8000.0),
    ]
    assert [bar.label for bar in plots.aggregation_bars([aggregation("int8", None)])][-1] == "gloo, one all-reduce"
    assert plots.aggregation_bars([]) == []


def test_figures_are_told_apart_by_what_is_in_them(plots: ModuleType) -> None:
    kinds = [plots.kind_of(one) for one in (scaling(), {"codecs": []}, aggregation("int8", 1.0), exchange("int8", 1.0))]
    assert kinds == ["scaling", "codecs", "aggregation", "exchange"]


def test_folder_without_figures_is_an_error(plots: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        plots.main(["--figures", str(tmp_path), "--images", str(tmp_path)])


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_same_figures_give_the_same_plots(plots: ModuleType, tmp_path: Path) -> None:
    figures = {"a": scaling(), "b": exchange("int8", 0.5), "c": aggregation("int8", 1.0), "d": {"codecs": []}}
    for name, content in figures.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    drawn = []
    for images in (tmp_path / "first", tmp_path / "second"):
        assert plots.main(["--figures", str(tmp_path), "--images", str(images)]) == 0
        drawn.append({path.name: path.read_bytes() for path in images.iterdir()})
    assert drawn[0] == drawn[1]
    assert sorted(drawn[0]) == ["aggregation.svg", "bytes.svg", "exchange.svg"]
