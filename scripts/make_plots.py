"""Draws docs/images/{bytes,exchange,aggregation,time}.svg from the figures that `marfl-peer bench ... --json` printed.

python scripts/make_plots.py     reads docs/bench/*.json, which scripts/make_benchmarks.py wrote
Needs matplotlib: pip install -e '.[bench]'. What was not measured is left out; a plot without any figures is not drawn.
Where the time of an exchange goes is from profiles, in a table of docs/benchmarks.md: that is read, too.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marfl_peer.lab.bench.formulas import formulas, log_fit
from marfl_peer.lab.links import written

DOCS = Path(__file__).resolve().parent.parent / "docs"
SCHEMES = {"rdfl": "RDFL, AR-FL: (N-1) S", "mar_fl": "MAR-FL: G (M-1) S", "fedavg": "FedAvg: S"}
WHOLE_BYTES = 9_600_000
"""S, theta and momentum of the paper's CNN."""

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """`points` are (number of peers, megabytes of a peer in an iteration), ascending."""

    label: str
    points: tuple[tuple[int, float], ...]
    kind: str
    """"measured", "simulated", "fit" or "formula"."""


@dataclass(frozen=True, slots=True)
class Point:
    megabytes: float
    simulated: bool


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
    """By group size: what was measured and simulated, under each codec, its fit to log N, and the formulas."""
    counted: dict[tuple[int, str], dict[int, Point]] = {}
    # of one number of peers that of the larger vector counts
    for figures in sorted(scalings, key=lambda figures: figures["vector_bytes"]):
        for run in figures["runs"]:
            points = counted.setdefault((run["group_size"], figures["codec"]), {})
            if not run["is_simulated"] or run["peers"] not in points:
                points[run["peers"]] = Point(for_whole(run, figures["vector_bytes"]), run["is_simulated"])
    lines: dict[int, list[Line]] = {}
    for (group, codec), points in sorted(counted.items(), key=lambda item: (item[0][0], codec_order(item[0][1]))):
        found = lines.setdefault(group, [])
        for is_simulated, how in ((False, "measured"), (True, "simulated")):
            of_kind = tuple(
                sorted((n, point.megabytes) for n, point in points.items() if point.simulated is is_simulated)
            )
            if of_kind:
                found.append(Line(f"{codec}, {how}", of_kind, how))
        fit = log_fit([(n, point.megabytes) for n, point in points.items()], group)
        if fit is not None:
            sign = "-" if fit.bytes_fixed < 0 else "+"
            words = f"{fit.bytes_a_round:.1f} log$_{group}$ N {sign} {abs(fit.bytes_fixed):.1f}"
            fitted = ((n, fit.bytes_fixed + fit.bytes_a_round * math.log(n, group)) for n in sorted(points))
            found.append(Line(f"fit {words}, R² = {fit.r_squared:.3f}", tuple(fitted), "fit"))
    for group, found in lines.items():
        numbers = sorted({number for line in found for number, _ in line.points})
        by_number = {number: formulas(number, group, WHOLE_BYTES) for number in numbers}
        for scheme, label in SCHEMES.items():
            values = tuple((number, getattr(of, scheme) / 1e6) for number, of in by_number.items())
            found.append(Line(label, values, "formula"))
    return lines


def for_whole(run: Figures, vector_bytes: int) -> float:
    """Megabytes that a peer sends in an iteration, of a vector of `WHOLE_BYTES`: with it grow its parts, not the words.

    Of simulated runs the last iteration: they are short, and the start's look-ups would count for more in their mean.
    """
    sent = run["bytes_sent_last_iteration"] if run["is_simulated"] else run["bytes_sent"]
    words = sum(count for kind, count in sent.items() if kind != "tensor")
    return float(sent["tensor"] * WHOLE_BYTES / vector_bytes + words) / 1e6


def exchange_bars(exchanges: Iterable[Figures]) -> dict[str, list[Bar]]:
    """By links, where several codecs were measured: gloo, of the run in float32 if there is one, and each codec."""
    bars: dict[str, list[Bar]] = {}
    gloo: dict[str, Bar] = {}
    for figures in exchanges:
        links = links_of(figures)
        bars.setdefault(links, []).append(Bar(short(figures["codec"]), *timed(figures, "seconds")))
        if links not in gloo or figures["codec"] == "float32":
            gloo[links] = Bar("gloo, float32", *timed(figures, "gloo_seconds"))
    return {
        links: [gloo[links], *sorted(found, key=lambda bar: codec_order(bar.label))]
        for links, found in sorted(bars.items())
        if len({bar.label for bar in found}) > 1
    }


def timed(figures: Figures, what: str) -> tuple[float, tuple[float, float]]:
    """Median and quartiles, in milliseconds."""
    first, third = figures[f"{what}_quartiles"]
    return 1000 * figures[f"{what}_median"], (1000 * first, 1000 * third)


def short(codec: str) -> str:
    """In two lines, where it is long."""
    return codec.replace(",", ",\n")


def profile_bars(page: str) -> list[Bar]:
    """The first table below "Where the time goes", the longest first."""
    _, _, below = page.partition("**Where the time goes**")
    table = re.search(r"(?m)(^\|.*\n)+", below.partition("\n## ")[0])
    rows = re.findall(r"(?m)^\| (.+) \| ([0-9.]+) \|$", table[0] if table else "")
    bars = [Bar("\n".join(textwrap.wrap(re.sub(r" \(.*\)", "", what), 40)), float(ms)) for what, ms in rows]
    return sorted(bars, key=lambda bar: -bar.milliseconds)


def codec_order(codec: str) -> tuple[bool, str]:
    """float32 first."""
    return codec != "float32", codec


def links_of(figures: Figures) -> str:
    """Such as one machine, or links of 3 × 1gbit and 1 × 100mbit."""
    rates = figures["link_bits_per_second"]
    if rates is None:
        return f"{figures['members']} members on one machine"
    counts = {rate: rates.count(rate) for rate in sorted(rates, reverse=True)}
    return "links of " + " and ".join(f"{count} × {written(rate)}" for rate, count in counts.items())


def aggregation_bars(aggregations: Sequence[Figures]) -> list[Bar]:
    """Ours under each codec, and the others of the run in float32, or of the first."""
    if not aggregations:
        return []
    ours = [
        Bar(f"peers, {short(one['codec'])}", *timed(one, "seconds"))
        for one in sorted(aggregations, key=lambda one: codec_order(one["codec"]))
    ]
    beside = next((one for one in aggregations if one["codec"] == "float32"), aggregations[0])
    bars = [
        *ours,
        Bar("gloo in the same groups", *timed(beside, "gloo_seconds")),
        Bar("gloo, one all-reduce", *timed(beside, "gloo_flat_seconds")),
    ]
    hivemind = beside["hivemind_seconds_median"]
    return bars if hivemind is None else [*bars, Bar("hivemind", 1000 * hivemind)]


def draw_bytes(lines: Mapping[int, Sequence[Line]], path: Path) -> None:
    figure, axes = panels(len(lines), height=5.6)
    marks = {"measured": ("o", ""), "simulated": ("s", ""), "fit": ("", "-"), "formula": ("", "--")}
    greys = iter(("0.25", "0.5", "0.7") * len(lines))
    for axis, (group, found) in zip(axes, lines.items(), strict=True):
        codecs = list(dict.fromkeys(line.label.rpartition(", ")[0] for line in found if line.kind == "measured"))
        colour = "black"
        for line in found:
            if line.kind in ("measured", "simulated"):
                codec = line.label.rpartition(", ")[0]
                colour = f"C{codecs.index(codec)}" if codec in codecs else "C9"
            marker, style = marks[line.kind]
            numbers, values = zip(*line.points, strict=True)
            hollow = {"markerfacecolor": "none"} if line.kind == "simulated" else {}
            own = next(greys) if line.kind == "formula" else colour  # a fit is in the colour of what it fits
            axis.plot(numbers, values, label=line.label, marker=marker, linestyle=style, color=own, **hollow)
        numbers = sorted({number for line in found for number, _ in line.points})
        axis.set(xscale="log", yscale="log", xlabel="peers N", title=f"groups of M = {group}")
        axis.set_xticks(numbers, [str(number) for number in numbers])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    limits = [limit for axis in axes for limit in axis.get_ylim()]
    for axis in axes:
        axis.set_ylim(min(limits), max(limits))
    axes[0].set_ylabel(f"MB that a peer sends in an iteration\n(S = {WHOLE_BYTES / 1e6:g} MB)")
    save(figure, path)


def draw_exchange(bars: Mapping[str, Sequence[Bar]], path: Path) -> None:
    figure, axes = panels(len(bars))
    for axis, (links, found) in zip(axes, bars.items(), strict=True):
        draw_bars(axis, found)
        axis.set(title=links)
    figure.supxlabel("milliseconds of one exchange, median and middle half", fontsize="medium")
    save(figure, path)


def draw_aggregation(bars: Sequence[Bar], path: Path) -> None:
    figure, (axis,) = panels(1)
    draw_bars(axis, bars)
    shortest, longest = (pick(bar.milliseconds for bar in bars) for pick in (min, max))
    limits = (shortest / 3, 3 * longest)
    axis.set(xscale="log", xlim=limits)
    figure.supxlabel("milliseconds of one aggregation, median and middle half", fontsize="medium")
    save(figure, path)


def draw_profile(bars: Sequence[Bar], path: Path) -> None:
    figure, (axis,) = panels(1)
    draw_bars(axis, bars)
    figure.supxlabel("milliseconds of a member's processor time, one exchange by TCP over loopback", fontsize="medium")
    save(figure, path)


def draw_bars(axis: Any, bars: Sequence[Bar]) -> None:
    """The first on top."""
    colours = ["tab:grey" if bar.label.startswith(("gloo", "hivemind")) else "tab:blue" for bar in bars]
    axis.barh([bar.label for bar in bars], [bar.milliseconds for bar in bars], color=colours)
    for place, bar in enumerate(bars):
        end = bar.milliseconds
        if bar.quartiles is not None:
            axis.plot(bar.quartiles, (place, place), color="black")
            end = max(end, bar.quartiles[1])
        text = f"{bar.milliseconds:.0f}" if bar.milliseconds >= 100 else f"{bar.milliseconds:.1f}"
        axis.annotate(text, (end, place), xytext=(4, 0), textcoords="offset points", fontsize="small", va="center")
    axis.invert_yaxis()
    axis.margins(x=0.15)


def panels(count: int, *, height: float = 3.6) -> tuple[Any, Sequence[Any]]:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "marfl-peer"  # the same figures give the same file
    import matplotlib.pyplot as plots

    figure, axes = plots.subplots(1, count, figsize=(5.5 * count, height), squeeze=False, layout="constrained")
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
    lines, bars = byte_lines(by_kind.get("scaling", [])), exchange_bars(by_kind.get("exchange", []))
    if lines:
        draw_bytes(lines, options.images / "bytes.svg")
    if bars:
        draw_exchange(bars, options.images / "exchange.svg")
    if aggregations := aggregation_bars(by_kind.get("aggregation", [])):
        draw_aggregation(aggregations, options.images / "aggregation.svg")
    if profile := profile_bars((DOCS / "benchmarks.md").read_text(encoding="utf-8")):
        draw_profile(profile, options.images / "time.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
