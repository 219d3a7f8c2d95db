"""Draws docs/images/{bytes,exchange,aggregation}.svg from the figures that `marfl-peer bench ... --json` printed.

python scripts/make_plots.py     reads docs/bench/*.json, which scripts/make_benchmarks.py wrote
Needs matplotlib: pip install -e '.[bench]'. What was not measured is left out; a plot without any figures is not drawn.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
SCHEMES = {"mar_fl": "MAR-FL", "rdfl": "RDFL, AR-FL", "fedavg": "FedAvg", "butterfly": "butterfly, float32"}
UNITS = (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3))

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """`points` are (number of peers, bytes of a peer in an iteration as a multiple of the vector's), ascending."""

    label: str
    points: tuple[tuple[int, float], ...]
    kind: str
    """"measured", "simulated" or "formula"."""


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    milliseconds: float
    quartiles: tuple[float, float] | None = None


def kind_of(figures: Figures) -> str:
    """Which bench printed them."""
    if "runs" in figures:
        return "scaling"
    if "codecs" in figures:
        return "codecs"
    return "aggregation" if "gloo_flat_seconds_median" in figures else "exchange"


def byte_lines(scalings: Iterable[Figures]) -> dict[int, list[Line]]:
    """By group size: what was measured and simulated, under each codec, and the formulas."""
    measured: dict[tuple[int, str, str], dict[int, float]] = {}
    formulas: dict[tuple[int, str], dict[int, float]] = {}
    for figures in scalings:
        size = figures["vector_bytes"]
        for run in figures["runs"]:
            group, peers = run["group_size"], run["peers"]
            kind = "simulated" if run["is_simulated"] else "measured"
            line = measured.setdefault((group, kind, figures["codec"]), {})
            # Simulated runs are short: with the start's look-ups in the mean they would not compare with measured ones.
            last = sum(run["bytes_sent_last_iteration"].values())
            line[peers] = (last if run["is_simulated"] else run["bytes_sent_per_peer_per_iteration"]) / size
            for scheme, label in SCHEMES.items():
                formulas.setdefault((group, label), {})[peers] = run["formulas"][scheme] / size
    lines: dict[int, list[Line]] = {}
    for (group, kind, codec), points in measured.items():
        label = f"{codec}, simulated, last iteration" if kind == "simulated" else f"{codec}, measured"
        lines.setdefault(group, []).append(Line(label, tuple(sorted(points.items())), kind))
    for (group, label), points in formulas.items():
        lines[group].append(Line(label, tuple(sorted(points.items())), "formula"))
    return dict(sorted(lines.items()))


def exchange_bars(exchanges: Iterable[Figures]) -> dict[str, list[Bar]]:
    """By links: gloo, of the run in float32 if there is one, and each codec."""
    bars: dict[str, list[Bar]] = {}
    gloo: dict[str, Bar] = {}
    for figures in exchanges:
        links = links_of(figures)
        quartiles = scaled(figures["seconds_quartiles"])
        bars.setdefault(links, []).append(Bar(figures["codec"], 1000 * figures["seconds_median"], quartiles))
        if links not in gloo or figures["codec"] == "float32":
            median = 1000 * figures["gloo_seconds_median"]
            gloo[links] = Bar("gloo, float32", median, scaled(figures["gloo_seconds_quartiles"]))
    return {
        links: [gloo[links], *sorted(found, key=lambda bar: codec_order(bar.label))] for links, found in bars.items()
    }


def codec_order(codec: str) -> tuple[bool, str]:
    """float32 first."""
    return codec != "float32", codec


def links_of(figures: Figures) -> str:
    """Such as loopback, or links of 3 × 1gbit and 1 × 100mbit."""
    rates = figures["link_bits_per_second"]
    if rates is None:
        return f"{figures['members']} members on loopback"
    counts = {rate: rates.count(rate) for rate in sorted(rates, reverse=True)}
    return "links of " + " and ".join(f"{count} × {written(rate)}" for rate, count in counts.items())


def written(rate: int) -> str:
    return next((f"{rate // size}{unit}" for unit, size in UNITS if rate % size == 0), f"{rate}bit")


def aggregation_bars(aggregations: Sequence[Figures]) -> list[Bar]:
    """Ours under each codec, and the others of the run in float32, or of the first."""
    if not aggregations:
        return []
    ours = [
        Bar(f"peers, {one['codec']}", 1000 * one["seconds_median"], scaled(one["seconds_quartiles"]))
        for one in sorted(aggregations, key=lambda one: codec_order(one["codec"]))
    ]
    beside = next((one for one in aggregations if one["codec"] == "float32"), aggregations[0])
    others = {
        "gloo in the same groups": beside["gloo_seconds_median"],
        "gloo, one all-reduce": beside["gloo_flat_seconds_median"],
        "hivemind": beside["hivemind_seconds_median"],
    }
    return [*ours, *(Bar(label, 1000 * seconds) for label, seconds in others.items() if seconds is not None)]


def scaled(quartiles: Sequence[float]) -> tuple[float, float]:
    """In milliseconds."""
    return 1000 * quartiles[0], 1000 * quartiles[1]


def draw_bytes(lines: Mapping[int, Sequence[Line]], path: Path) -> None:
    figure, axes = panels(len(lines))
    marks = {"measured": ("o", "-"), "simulated": ("s", ":"), "formula": (None, "--")}
    for axis, (group, found) in zip(axes, lines.items(), strict=True):
        for line in found:
            marker, style = marks[line.kind]
            numbers, values = zip(*line.points, strict=True)
            hollow = {"markerfacecolor": "none"} if line.kind == "simulated" else {}
            axis.plot(numbers, values, label=line.label, marker=marker, linestyle=style, **hollow)
        axis.set(xscale="log", yscale="log", xlabel="peers", title=f"groups of {group}")
        numbers = sorted({number for line in found for number, _ in line.points})
        axis.set_xticks(numbers, [str(number) for number in numbers], minor=False)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    axes[0].set_ylabel("bytes a peer sends in an iteration,\nin vectors of theta and momentum")
    save(figure, path)


def draw_exchange(bars: Mapping[str, Sequence[Bar]], path: Path) -> None:
    figure, axes = panels(len(bars))
    for axis, (links, found) in zip(axes, bars.items(), strict=True):
        draw_bars(axis, found)
        axis.set(title=links, xlabel="milliseconds, median and middle half")
    save(figure, path)


def draw_aggregation(bars: Sequence[Bar], path: Path) -> None:
    figure, (axis,) = panels(1)
    draw_bars(axis, bars)
    longest = max(bar.milliseconds for bar in bars)
    axis.set(xscale="log", xlim=(1, 3 * longest), xlabel="milliseconds for one aggregation, median and middle half")
    save(figure, path)


def draw_bars(axis: Any, bars: Sequence[Bar]) -> None:
    """The first on top."""
    colours = ["tab:blue" if "gloo" not in bar.label and bar.label != "hivemind" else "tab:grey" for bar in bars]
    axis.barh([bar.label for bar in bars], [bar.milliseconds for bar in bars], color=colours)
    for place, bar in enumerate(bars):
        if bar.quartiles is not None:
            axis.plot(bar.quartiles, (place, place), color="black")
        axis.annotate(
            f"{bar.milliseconds:.0f}" if bar.milliseconds >= 100 else f"{bar.milliseconds:.1f}",
            (bar.milliseconds, place),
            xytext=(4, 6),
            textcoords="offset points",
            fontsize="small",
            va="center",
        )
    axis.invert_yaxis()
    axis.margins(x=0.15)


def panels(count: int) -> tuple[Any, Sequence[Any]]:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "marfl-peer"  # the same figures give the same file
    import matplotlib.pyplot as plots

    figure, axes = plots.subplots(1, count, figsize=(5.5 * count, 4.2), squeeze=False, layout="constrained")
    return figure, list(axes[0])


def save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    print(path)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=DOCS / "bench", help="folder of JSON files")
    parser.add_argument("--images", type=Path, default=DOCS / "images", help="folder to draw into")
    options = parser.parse_args(arguments)
    by_kind: dict[str, list[Figures]] = {}
    for path in sorted(options.figures.glob("*.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        by_kind.setdefault(kind_of(figures), []).append(figures)
    if not by_kind:
        parser.error(f"--figures {options.figures}: has no figures: run scripts/make_benchmarks.py first")
    if "scaling" in by_kind:
        draw_bytes(byte_lines(by_kind["scaling"]), options.images / "bytes.svg")
    if "exchange" in by_kind:
        draw_exchange(exchange_bars(by_kind["exchange"]), options.images / "exchange.svg")
    if "aggregation" in by_kind:
        draw_aggregation(aggregation_bars(by_kind["aggregation"]), options.images / "aggregation.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
