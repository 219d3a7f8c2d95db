from __future__ import annotations

import importlib
import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


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
    flat = {"gloo_flat_seconds_median": 0.125, "gloo_flat_seconds_quartiles": [0.1, 0.2]}
    return exchange(codec, 0.25) | flat | {"hivemind_seconds_median": hivemind}


def scaling(codec: str = "int8", vector_bytes: int = 960_000, tensor: float = 1e5) -> dict[str, Any]:
    """What is sent of the vector grows with the rounds; words come on top, and in the mean look-ups of the start."""

    def run(peers: int, is_simulated: bool) -> dict[str, object]:
        last = {"tensor": tensor * math.log(peers, 5), "control": 1e6}
        return {
            "group_size": 5,
            "peers": peers,
            "is_simulated": is_simulated,
            "bytes_sent": last | {"dht": 1e6},
            "bytes_sent_last_iteration": last,
        }

    return {"vector_bytes": vector_bytes, "codec": codec, "runs": [run(25, False), run(5, False), run(125, True)]}


def test_bytes_are_lines_by_group_size_for_the_whole_vector(plots: ModuleType) -> None:
    lines = plots.byte_lines([scaling(), scaling("float32", 9_600_000, 1e7)])
    assert list(lines) == [5]
    by_label = {line.label: line for line in lines[5]}
    assert by_label["int8, measured"].points == ((5, 3.0), (25, 4.0))
    assert by_label["int8, simulated"].points == ((125, pytest.approx(4.0)),)
    assert by_label["float32, measured"].points == ((5, 12.0), (25, 22.0))
    assert [sent for _, sent in by_label["MAR-FL: G (M-1) S"].points] == pytest.approx([38.4, 76.8, 115.2])
    assert by_label["FedAvg: S"].points == ((5, 9.6), (25, 9.6), (125, 9.6))
    kinds = [line.kind for line in lines[5]]
    assert kinds == ["measured", "simulated", "fit"] * 2 + ["formula"] * 3
    assert [line.label[:7] for line in lines[5]][:3] == ["float32", "float32", "fit 9.5"]


def test_measured_point_counts_before_a_simulated_one_and_that_of_the_larger_vector(plots: ModuleType) -> None:
    small, large = scaling("float32", 96_000, 1e5), scaling("float32", 9_600_000, 3e7)
    del small["runs"][0], large["runs"][1]  # of 25 and of 5 peers
    large["runs"].append(large["runs"][0] | {"peers": 5, "is_simulated": True})
    measured, simulated, *_ = plots.byte_lines([large, small])[5]
    assert measured.points == ((5, 12.0), (25, 62.0))
    assert [number for number, _ in simulated.points] == [125]


def test_exchanges_are_bars_by_links_beside_gloo(plots: ModuleType) -> None:
    slow = [10**9, 10**9, 10**9, 10**8]
    found = [exchange("bfloat16", 0.5), exchange("float32", 0.25), exchange("int8", 2.0, slow)]
    found += [exchange("theta=int8,momentum=int4", 1.0, slow)]
    bars = plots.exchange_bars(found)
    assert list(bars) == ["4 members on one machine", "links of 3 × 1gbit and 1 × 100mbit"]
    loopback, links = bars.values()
    assert [(bar.label, bar.milliseconds) for bar in loopback] == [
        ("gloo, float32", 1250.0),
        ("float32", 250.0),
        ("bfloat16", 500.0),
    ]
    assert loopback[1].quartiles == (125.0, 500.0)
    assert [bar.label for bar in links] == ["gloo, float32", "int8", "theta=int8,\nmomentum=int4"]
    assert plots.exchange_bars(found[2:3]) == {}, "nothing to compare"


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


def test_profile_is_the_table_of_the_page(plots: ModuleType) -> None:
    page = "| no | 9.9 |\n\n**Where the time goes**, about\n\n| | ms |\n| --- | --- |\n| a (b) | 0.5 |\n| c | 4.9 |\n"
    bars = plots.profile_bars(page + "\nOther\n\n| c | 7.0 |\n\n## Next\n\n| d | 1.0 |\n")
    assert [(bar.label, bar.milliseconds) for bar in bars] == [("c", 4.9), ("a", 0.5)]
    assert plots.profile_bars("nothing") == []
    of_the_docs = plots.profile_bars((plots.DOCS / "benchmarks.md").read_text(encoding="utf-8"))
    assert len(of_the_docs) >= 5


def test_figures_are_told_apart_by_what_is_in_them(plots: ModuleType) -> None:
    kinds = [plots.kind_of(one) for one in (scaling(), {"codecs": []}, aggregation("int8", 1.0), exchange("int8", 1.0))]
    assert kinds == ["scaling", "codecs", "aggregation", "exchange"]


def test_folder_without_figures_is_an_error(plots: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        plots.main(["--figures", str(tmp_path), "--images", str(tmp_path)])


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_same_figures_give_the_same_plots(plots: ModuleType, tmp_path: Path) -> None:
    figures = {
        "a": scaling(),
        "b": exchange("int8", 0.5),
        "c": exchange("float32", 0.5),
        "d": aggregation("int8", 1.0),
        "e": {"codecs": []},
    }
    for name, content in figures.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    drawn = []
    for images in (tmp_path / "first", tmp_path / "second"):
        assert plots.main(["--figures", str(tmp_path), "--images", str(images)]) == 0
        drawn.append({path.name: path.read_bytes() for path in images.iterdir()})
    assert drawn[0] == drawn[1]
    assert sorted(drawn[0]) == ["aggregation.svg", "bytes.svg", "exchange.svg", "time.svg"]
